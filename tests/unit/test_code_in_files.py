"""Nothing that a file names is called: the user's own command line alone chooses code."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from diffrop.analysis.data.load import load_study
from diffrop.analysis.data.model import load_data, study_extractor
from diffrop.checkpoint_file import read_checkpoint, write_checkpoint
from diffrop.data import load_dataset
from diffrop.engine.guidance_sweep import ready_to_sample
from diffrop.metrics.extractors import DOWNLOADED_CODE
from diffrop.training.trainer import Trainer
from tests.made.commands import command, parser_of, script
from tests.made.faults import fault
from tests.made.small import small_experiment
from tests.made.trained_study import write_trained_study

CPU = torch.device("cpu")
CALLED: list[str] = []
PLANTED = f"{__name__}:planted"
SMALL = {"evaluation.guidance_scales": [0.0], "evaluation.num_samples": 40}


class Rows(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.float().mean(dim=(1, 3))


def planted() -> nn.Module:
    CALLED.append("planted")
    return Rows()


@pytest.fixture(autouse=True)
def _nothing_called() -> Iterator[None]:
    CALLED.clear()
    yield


def crafted_checkpoint(folder: Path, extractor: str) -> Path:
    """A whole, intact checkpoint whose card names an extractor."""
    config = small_experiment()
    trainer = Trainer(config, load_dataset(config.data), CPU)
    path = folder / "images_000000000000.safetensors"
    write_checkpoint(path, trainer.checkpoint())
    known = read_checkpoint(path)
    named = config.with_values({"evaluation.extractor": extractor}).to_dict()
    write_checkpoint(path, dataclasses.replace(known, card=known.card | {"config": named}))
    return path


@fault(37, "a checkpoint whose extractor is a function of its author's")
def test_sweep_calls_what_the_command_line_names_and_nothing_else(tmp_path: Path) -> None:
    path = crafted_checkpoint(tmp_path, PLANTED)
    with pytest.raises(ValueError, match="which a file names, is code"):
        ready_to_sample({"x": path}, SMALL, tmp_path, CPU)
    assert CALLED == []
    ready_to_sample({"x": path}, {**SMALL, "evaluation.extractor": PLANTED}, tmp_path, CPU)
    ready_to_sample({"x": path}, SMALL, tmp_path, CPU, trust_code=True)
    assert CALLED == ["planted"] * 2


@fault(37, "a checkpoint whose extractor is code that is downloaded")
@pytest.mark.parametrize("name", DOWNLOADED_CODE)
def test_code_that_is_downloaded_is_not_run_where_a_file_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("torch.hub.load", lambda *_, **__: CALLED.append(name))
    with pytest.raises(ValueError, match="which a file names, is code"):
        ready_to_sample({"x": crafted_checkpoint(tmp_path, name)}, SMALL, tmp_path, CPU)
    assert CALLED == []


@fault(37, "`os:abort` as the extractor in the files of a study")
def test_commands_do_not_abort_where_a_file_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = crafted_checkpoint(tmp_path, "os:abort")
    config = small_experiment().with_values({"evaluation.extractor": "os:abort"})
    best = tmp_path / "best.yaml"
    best.write_text(yaml.safe_dump({"config": config.to_dict(), "omega": 0.0}))
    runs = ["--runs-root", str(tmp_path / "runs")]
    with pytest.raises(SystemExit) as ended:
        command("run_guidance_sweep")(["--checkpoint", str(path), *runs])
    assert ended.value.code == 2
    with pytest.raises(SystemExit) as ended:
        command("train_final")(["--config", str(best), "--gpus-per-worker", "0", *runs])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.count("extractor 'os:abort', which a file names, is code") == 2
    assert not (tmp_path / "runs").exists()


def test_analysis_calls_what_it_is_told_to_trust(tmp_path: Path) -> None:
    directory = write_trained_study(tmp_path / "s")
    content = yaml.safe_load((directory / "study.yaml").read_text())
    content["experiment"]["evaluation"]["extractor"] = PLANTED
    (directory / "study.yaml").write_text(yaml.safe_dump(content))
    study = load_study(directory)
    data = load_data(study)
    with pytest.raises(ValueError, match="which a file names, is code"):
        study_extractor(study, data, PLANTED)
    assert CALLED == []
    assert study_extractor(load_study(directory, trusted=True), data, PLANTED).name == PLANTED
    assert CALLED == ["planted"]


@pytest.mark.parametrize(
    ("words", "trusted"),
    [
        (["--config", "best.yaml"], False),
        (["--config", "best.yaml", "--set", "training.seed=1"], False),
        (["--config", "best.yaml", "--trust-code"], True),
        (["--config", "best.yaml", "--extractor", "a:b"], True),
        (["--config", "best.yaml", "--set", "evaluation.extractor=a:b"], True),
        (["--preset", "ddpm"], True),
    ],
)
def test_what_was_typed_is_trusted(words: list[str], trusted: bool) -> None:
    module = script("train_final")
    assert module.trusts_extractor(parser_of("train_final").parse_args(words)) is trusted
