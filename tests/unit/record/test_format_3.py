"""Studies of format 3 that an earlier version left: they are read as that version read them."""

import dataclasses
from pathlib import Path

import pytest

from diffrop.analysis.data.load import load_study
from diffrop.console.status import study_status
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.json_files import read_record
from diffrop.record.result_reader import ResultReader
from diffrop.record.study_folder import StudyFolder
from diffrop.record.study_store import StudyStore
from diffrop.scoring.paired_differences import with_differences
from diffrop.study.config import LaunchConfig
from tests.made.format_3 import NAMES, described, differing, expected_of, unpack
from tests.made.written_report import write_report

pytestmark = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("format_3"))


def test_results_are_read_to_the_digit(unpacked: Path, name: str) -> None:
    store = StudyStore(unpacked / "runs", name)
    study = store.open(LaunchConfig(resume=True))
    result = with_differences(ResultReader(study, store.folder, store.read_config()).read())
    confirmation = read_record(store.folder.confirmation, ConfirmationRecord)
    found = described(store.folder, dataclasses.replace(result, confirmation=confirmation))
    assert differing(found, expected_of(unpacked)["before"][name], rel=1e-12) == []


def test_study_is_loaded_for_its_analysis(unpacked: Path, name: str) -> None:
    expected = expected_of(unpacked)["before"][name]
    study = load_study(unpacked / "runs" / name)
    ranked = study.trials.dropna(subset=["rank"]).sort_values("rank")
    assert ranked["number"].tolist() == expected["ranking"]
    values = {str(n): v for n, v in zip(ranked["number"], ranked["value"], strict=True)}
    assert values == {
        key: trial["value"] for key, trial in expected["trials"].items() if trial["rank"]
    }
    assert study.cost is not None and study.cost.plan is not None
    assert study.front is not None and study.front["front"].any()
    assert (study.confirmation is not None) == bool(expected["confirmation"])
    assert {"training", "sampling"} <= set(study.costs["part"])
    assert not study.curves.empty and not study.measurements.empty


def test_report_is_written(unpacked: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffrop.analysis.figures.drawing.applicable_figures", lambda study: [])
    text = write_report(unpacked / "runs" / name).read_text("utf-8")
    trials = expected_of(unpacked)["before"][name]["trials"]
    assert all(f"t{int(number):03d}" in text for number in trials)


def test_status_says_what_is_left(unpacked: Path, name: str) -> None:
    found = study_status(StudyStore(unpacked / "runs", name))
    assert found.state == ("finished" if name == "finished" else "stopped")
    assert found.hours > 0 and found.planned is not None
    assert bool(found.confirmed) == (name == "finished")


def test_store_knows_every_training(unpacked: Path, name: str) -> None:
    folder = StudyFolder(unpacked / "runs" / name)
    for trial in [*folder.trials(), *folder.retrainings(), *folder.prefixes()]:
        training = trial.training(folder.store)
        assert training.path.parent == folder.store and training.segments()
        assert training.curves(log_every_images=32) == training.curves()
