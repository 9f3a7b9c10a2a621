"""The README's code does what it says."""

import os
import re
from pathlib import Path

import torch

from diffrop.checkpoint_file import write_checkpoint
from diffrop.data import load_dataset
from diffrop.training.trainer import Trainer
from tests.made.small import ROOT, small_experiment


def test_checkpoint_is_read_in_the_five_lines_of_the_readme(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
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
    pages = [ROOT / "README.md", *docs.rglob("*.md"), ROOT / "benchmarks" / "README.md"]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            path = Path(os.path.normpath(page.parent / target))
            if "://" not in target and path not in generated:  # `make docs` writes these
                assert path.exists(), f"{page.name}: {target}"
