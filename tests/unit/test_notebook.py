"""`diffrop.Study` is the command, and its result is what the study's folder holds."""

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml

import diffrop
from diffrop.analysis.data.load import load_study
from diffrop.main import load_command
from diffrop.notebook import Study
from tests.made.analysed_study import write_study
from tests.made.small import SPACE

OPTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("tau", {}, ""),
    ("loss", {"trials": 7, "resume": None, "quiet": False}, "--trials 7"),
    (
        "pareto",
        {"constraint": ["fid/many <= 9", "fid/few <= baseline"]},
        "--constraint 'fid/many <= 9' --constraint 'fid/few <= baseline'",
    ),
    ("margin", {"omegas": (0, 0.5), "diffaug": ["cutout"]}, "--omegas 0,0.5 --diffaug cutout"),
    (
        "tau",
        {"set": {"training.seed": 3, "model.channel_multipliers": [1, 2]}},
        "--set training.seed=3 --set 'model.channel_multipliers=[1, 2]'",
    ),
    (
        "tau",
        {"space": SPACE, "dataset": "digits", "budget_wall": "2h", "warm_start": ["a", "b"]},
        f"--space {SPACE} --dataset digits --budget-wall 2h --warm-start a b",
    ),
]


@pytest.mark.parametrize(("kind", "options", "typed"), OPTIONS)
def test_configuration_is_that_of_the_command(
    kind: str, options: dict[str, Any], typed: str, tmp_path: Path
) -> None:
    more = {"study_name": "s", "gpus_per_worker": 0, "runs_root": tmp_path}
    study = Study(kind, **options, **more)
    words = shlex.split(f"{typed} --study-name s --gpus-per-worker 0 --runs-root {tmp_path}")
    command = load_command(f"study {kind}").COMMAND  # type: ignore[attr-defined]
    config, launch = command.configs(command.parser("").parse_args(words), {})
    assert (study.config, study.launch) == (config, launch)
    again = shlex.split(study.command)
    assert again[:3] == ["diffrop", "study", kind]
    assert command.configs(command.parser("").parse_args(again[3:]), {}) == (config, launch)


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("tao", {}, "kind is 'tao'; allowed: loss, margin, method, pareto, schedule, tau"),
        ("guidance", {}, "kind is 'guidance'; allowed"),
        ("tau", {"trails": 3}, "there is no option 'trails'; allowed: .*trials"),
        ("tau", {"dry_run": True}, "there is no option 'dry_run'"),
        ("tau", {"trials": "many"}, "argument --trials.*'many' is none; allowed: "),
        ("tau", {"set": {"training.learning_rat": 1}}, r"did you mean training.learning_rate\?"),
        ("tau", {"trials": 1}, "--trials: num_trials is 1; allowed: at least 2"),
    ],
)
def test_wrong_options_are_value_errors(
    kind: str, options: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=sentence):
        Study(kind, gpus_per_worker=0, **options).config  # noqa: B018 it is made when asked for
    assert capsys.readouterr().err == ""


def test_result_is_what_the_folder_holds(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "s")
    result, study = diffrop.read_result(directory), load_study(directory)
    pd.testing.assert_frame_equal(result.frame, study.trials)
    assert result.best == yaml.safe_load((directory / "best.yaml").read_text())
    assert result.best["omega"] == 1.0
    assert "loss_forms" in result.figures and result.figures is result.figures
    assert all(figure.get_supxlabel() for figure in result.figures.values())
    with pytest.raises(ValueError, match="is no study"):
        diffrop.read_result(tmp_path)


def test_run_launches_what_the_command_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, launched = write_study(tmp_path / "s"), []

    def run(*args: Any) -> Any:
        launched.append(args)
        return SimpleNamespace(directory=directory)

    monkeypatch.setattr("diffrop.console.study_launch.run", run)
    monkeypatch.setattr("diffrop.console.last_screen.print_places", lambda *_: None)
    study = diffrop.Study("loss", study_name="s", quiet=True, gpus_per_worker=0)
    result = study.run()
    config, launch, asked, typed, view, _, pages, _, notify = launched[0]
    own = load_command("study loss").COMMAND  # type: ignore[attr-defined]
    assert (config, launch, view) == (study.config, study.launch, "quiet")
    assert typed == "diffrop study loss --study-name=s --quiet --gpus-per-worker=0"
    assert (pages, notify) == (own.pages, None)
    assert "launch.gpus_per_worker" in asked and "training.precision" not in asked
    assert result.study.directory == directory


def test_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Trial'"):
        diffrop.Trial  # noqa: B018
