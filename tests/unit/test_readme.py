"""The README's commands, tables and pictures are those of the project."""

import os
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image

from diffrop.checkpoint_file import write_checkpoint
from diffrop.data import load_dataset
from diffrop.training.trainer import Trainer
from docs.generate.pictures import HASH_KEY, PARTS, SOURCE, source_hash
from tests.made.pages import blocks
from tests.made.small import ROOT, small_experiment

README = ROOT / "README.md"
SHOWN = {"all": "fid/all", "many": "fid/many", "medium": "fid/medium", "few": "fid/few"}


def test_checkpoint_is_read_in_the_five_lines_of_the_reference(tmp_path: Path) -> None:
    (block,) = blocks(ROOT / "docs" / "reference" / "python.md", "python")
    code = block.text
    assert len([line for line in code.splitlines() if line.strip()]) == 5
    config = small_experiment()
    trainer = Trainer(config, load_dataset(config.data), torch.device("cpu"))
    trainer.step()
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, trainer.checkpoint())
    names = {"path": path, "device": torch.device("cpu")}
    exec(code, names)
    x_t, t, labels = torch.zeros(2, 1, 8, 8), torch.tensor([0, 9]), torch.tensor([3, 10])
    found = names["network"](x_t, t, labels)  # type: ignore[operator]
    torch.testing.assert_close(found, trainer.ema.model(x_t, t, labels))


def test_every_command_of_the_readme_and_of_the_methods_exists() -> None:
    pages = (ROOT / "README.md", ROOT / "docs" / "methods.md")
    text = "\n".join(page.read_text("utf-8") for page in pages)
    scripts = set(re.findall(r"`?(?:studies/)?((?:run|train|sample|status|export)\w*\.py)", text))
    assert len(scripts) > 10
    assert {name for name in scripts if not (ROOT / "studies" / name).exists()} == set()


def test_every_link_of_the_pages_leads_somewhere() -> None:
    docs = ROOT / "docs"
    generated = {docs / "reference" / name for name in ("options.md", "configuration.md")}
    others = ("README.md", "RESULTS.md", "benchmarks/README.md")
    pages = [*docs.rglob("*.md"), *(ROOT / name for name in others)]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            path = Path(os.path.normpath(page.parent / target))
            if "://" not in target and path not in generated:  # `make docs` writes these
                assert path.exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("name", PARTS)
def test_pictures_show_the_trials_that_lie_beside_them(name: str) -> None:
    with Image.open(SOURCE.parent / name) as picture:
        assert picture.info[HASH_KEY] == source_hash()


def printed_rung(trial: "pd.Series[Any]") -> list[str]:
    """What follows PRUNED: the images of the rung, in thousands."""
    return [f"{trial['rung'] // 1000:.0f}k"] if trial["state"] == "PRUNED" else []


def test_last_screen_of_the_readme_is_that_of_the_pictures() -> None:
    trials = pd.read_csv(SOURCE).sort_values(["rank", "number"])
    (screen,) = blocks(README, "text")
    lines = [line for line in screen.text.splitlines() if re.match(r"t(rial|\d+) ", line)]
    head, *rows = (line.split() for line in lines)
    assert len(rows) == len(trials)
    stopped = "state" in head  # 80 columns then have no room for medium, and it is named below
    assert set(SHOWN) - set(head) == ({"medium"} if stopped else set())
    for cells, (_, trial) in zip(rows, trials.iterrows(), strict=True):
        rung = printed_rung(trial)
        assert cells[len(head) :] == rung  # the state PRUNED has two words
        printed = dict(zip(head, cells[: len(head)], strict=True))
        assert printed["trial"] == trial["name"].split()[0]
        assert printed["form"] == ("baseline" if trial["baseline"] else trial["form"])
        assert printed.get("state", "COMPLETE") == trial["state"]
        for column, score in SHOWN.items():
            if column in printed and trial["state"] != "COMPLETE":
                assert printed[column] == "-"
            elif column in printed:
                assert float(printed[column]) == pytest.approx(trial[score], abs=0.0051), printed
        for column, key in (("tau_0", "tau_0"), ("decay", "decay_temperature")):
            if printed[column] == "-":
                assert pd.isna(trial[key])
            else:
                assert float(printed[column]) == pytest.approx(trial[key], rel=0.005)


def test_readme_fits_in_150_lines() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 150
