import functools
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from analysis import command, parameter_importance
from analysis.command import figure_command
from analysis.figures import FIGURES
from analysis.load import StudyResults
from analysis.study_comparison import main as compare

from .fake_study import NINE_TRIALS, read_trials, write_study, write_trials
from .full_study import write_full_study

Spoil = Callable[[Path], None]


def _empty_table(directory: Path) -> None:
    header = (directory / "trials.csv").read_text().splitlines()[0]
    (directory / "trials.csv").write_text(f"{header}\n")


def _unfinished(directory: Path) -> None:
    rows = [row | {"state": "RUNNING", "value": ""} for row in read_trials(directory)]
    write_trials(directory, rows)


def _without_trials(directory: Path) -> None:
    shutil.rmtree(directory / "trials")


def _without_store(directory: Path) -> None:
    shutil.rmtree(directory.parent / "checkpoints")


def _bare(directory: Path) -> None:
    for path in directory.iterdir():
        if path.name not in ("study.yaml", "trials.csv"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module", params=[_empty_table, _unfinished, _without_trials,
                                        _without_store, _bare])  # fmt: skip
def incomplete(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies of which only a part is there."""
    directory = write_full_study(tmp_path_factory.mktemp("incomplete") / "full")
    request.param(directory)
    return directory


def test_incomplete_study_gives_a_figure_or_a_sentence_from_every_command(
    incomplete: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[Figure] = []

    def keep(figure: Figure, folder: Path, name: str) -> list[Path]:
        drawn.append(figure)
        return [folder / name]

    monkeypatch.setattr(command, "save_figure", keep)
    monkeypatch.setattr(command, "load_study", functools.cache(command.load_study))
    monkeypatch.setattr(parameter_importance, "NUM_FORESTS", 1)
    monkeypatch.setattr(sys, "argv", ["command", str(incomplete)])
    for entry in FIGURES:
        assert figure_command(entry.draw, entry.name) == 0, capsys.readouterr().err
    assert len(drawn) == len(FIGURES)
    assert all(figure.get_supxlabel() for figure in drawn)


def _no_file(directory: Path) -> None:
    (directory / "study.yaml").unlink()


def _foreign(directory: Path) -> None:
    (directory / "study.yaml").write_text("model: resnet\nepochs: 3\n")


def _binary(directory: Path) -> None:
    (directory / "study.yaml").write_bytes(b"\x89PNG\xff\xfe")


def _no_table(directory: Path) -> None:
    (directory / "trials.csv").unlink()


def _torn_score(directory: Path) -> None:
    path = directory / "trials" / "t001" / "scores" / "images_000000006016.json"
    path.write_text('{"images_seen": 60')


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_no_file, "is no study"),
        (_foreign, "has format None; allowed: 2, 3"),
        (_binary, "is not valid YAML"),
        (_no_table, "has no results yet"),
        (_torn_score, "cannot read"),
    ],
)
def test_spoiled_study_ends_a_command_with_one_sentence(
    tmp_path: Path, spoil: Spoil, sentence: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    directory = write_study(tmp_path / "study", trials=NINE_TRIALS[:2])
    spoil(directory)
    monkeypatch.setattr(sys, "argv", ["command", str(directory)])
    assert figure_command(FIGURES[0].draw, FIGURES[0].name) == 2
    monkeypatch.setattr(sys, "argv", ["command", str(directory)])
    assert compare() == 2
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith("error: ") and sentence in line


def test_command_writes_where_it_is_told(
    study_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["command", str(study_dir), "--out", str(tmp_path / "here")])
    assert figure_command(FIGURES[0].draw, "loss_forms") == 0
    written = [tmp_path / "here" / f"loss_forms.{kind}" for kind in ("png", "svg")]
    assert capsys.readouterr().out.split() == [str(path) for path in written]


def test_command_reads_from_mlflow_what_it_is_told(
    study: StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    asked: list[tuple[str, str]] = []

    def load_tracked(uri: str, name: str) -> StudyResults:
        asked.append((uri, name))
        return study

    monkeypatch.setattr("analysis.tracked.load_tracked", load_tracked)
    uri = "sqlite:////runs/mlflow.db"
    options = ["tau-sweep", "--tracking-uri", uri, "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["command", *options])
    assert figure_command(FIGURES[0].draw, "loss_forms") == 0
    assert asked == [(uri, "tau-sweep")] and (tmp_path / "loss_forms.svg").is_file()
