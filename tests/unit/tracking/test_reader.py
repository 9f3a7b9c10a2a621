"""The record's files in MLflow, and the folder that is put together from them."""

import dataclasses
import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from diffrop.record.json_files import write_record
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trial_folder import TrainingFailure
from diffrop.storage import write_atomically
from diffrop.tracking.experiment import STUDY, TRIAL
from diffrop.tracking.reader import download_study
from tests.made.mlflow_study import (
    TOKEN,
    add_checkpoint,
    add_lines,
    add_sample,
    add_score,
    make_full_trial,
    make_tracker,
    make_trial,
    runs_of,
    study_of,
)


def record_of(uri: str, number: str) -> set[str]:
    """The files of a trial's record in MLflow."""
    client, run_id = MlflowClient(uri), runs_of(uri)[1][number].info.run_id

    def files(folder: str) -> set[str]:
        found = client.list_artifacts(run_id, folder)
        inner = [files(item.path) for item in found if item.is_dir]
        return {item.path for item in found if not item.is_dir}.union(*inner)

    return {path.removeprefix("record/") for path in files("record")}


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith((".safetensors", ".png"))
    }


def test_record_is_uploaded_once_a_trial_has_ended_and_of_a_running_one_at_the_end(
    uri: str, tmp_path: Path
) -> None:
    tracker = make_tracker(uri, tmp_path)
    running = make_trial(tmp_path, 8)
    add_lines(running)
    for trial in (make_full_trial(tmp_path), running):
        tracker.sync(trial)
    key = "checkpoints/00000007"
    ended = {"training.key", "scores/images_000000000192.json", f"{key}/metrics.jsonl"}
    assert record_of(uri, "7") == ended and record_of(uri, "8") == set()
    assert tracker.close("KILLED") == []
    assert record_of(uri, "8") == {"training.key", "checkpoints/00000008/metrics.jsonl"}


def test_record_of_a_killed_launch_is_brought_by_the_next(uri: str, tmp_path: Path) -> None:
    make_tracker(uri, tmp_path).sync(make_trial(tmp_path))
    later = make_tracker(uri, tmp_path, launch="launch-2")
    later.sync(make_full_trial(tmp_path))
    assert later.close("FINISHED") == []
    assert "scores/images_000000000192.json" in record_of(uri, "7")


def write_forked_study(tmp_path: Path) -> StudyFolder:
    """A study with a prefix, a trial and a retraining that failed, and no weights but theirs."""
    study = study_of(tmp_path)
    write_atomically(study.config, "format: 3\n")
    prefix = study.prefix(0)
    prefix.path.mkdir(parents=True)
    prefix.use_training("00000099", study.store)
    for number, key in ((0, "00000099"), (7, "00000007")):
        (study.store / key).mkdir(parents=True, exist_ok=True)
        card = {"key": key, "parent": "00000099-64" if number else None}
        write_record(study.store / key / "training.json", card)
        segment = {"from": 0, "to": 64, "seconds": 1.0, "workers": 1, "gpus": 0, "time": 1.0}
        (study.store / key / "cost.jsonl").write_text(json.dumps(segment) + "\n")
    return study


def test_downloaded_study_has_the_files_of_the_folder(uri: str, tmp_path: Path) -> None:
    study = write_forked_study(tmp_path)
    tracker = make_tracker(uri, tmp_path)
    trial = make_full_trial(tmp_path)
    add_sample(trial, 64)
    again = make_trial(tmp_path, 7, "FAIL", seed=1)
    add_lines(again)
    again.folder.record_failure(TrainingFailure("loss is nan", "00000007"))
    for found in (trial, again):
        tracker.sync(found)
    tracker.log_study(study)
    assert tracker.close("FINISHED") == []
    folder = download_study(uri, "study", tmp_path / "copy")
    assert folder == StudyFolder(tmp_path / "copy" / "study")
    assert files_of(tmp_path / "copy") == files_of(tmp_path / "runs")
    for copy in (folder.trial(7), folder.retraining(7, 1), folder.prefix(0)):
        assert copy.training().key == copy.training_key()
    assert [path.name for path in folder.trial(7).grids()] == ["images_000000000192.png"]
    assert not list((tmp_path / "copy").rglob("*.safetensors"))


def test_newest_launch_has_the_last_word(uri: str, tmp_path: Path) -> None:
    study = study_of(tmp_path)
    for launch in ("launch-1", "launch-2"):
        tracker = make_tracker(uri, tmp_path, launch=launch)
        write_atomically(study.config, launch)
        tracker.log_study(study)
        write_atomically(study.best, launch)
        if launch == "launch-1":
            tracker.log_study(study)
        assert tracker.close("FINISHED") == []
    folder = download_study(uri, "study", tmp_path / "copy")
    assert (folder.config.read_text(), folder.best.read_text()) == ("launch-2", "launch-1")


def test_trial_that_went_on_has_the_files_of_its_end(uri: str, tmp_path: Path) -> None:
    study = study_of(tmp_path)
    write_atomically(study.config, "format: 3\n")
    first = make_tracker(uri, tmp_path)
    trial = make_trial(tmp_path)
    add_lines(trial)
    first.sync(trial)
    first.log_study(study)
    assert first.close("KILLED") == []
    second = make_tracker(uri, tmp_path, launch="launch-2")
    add_lines(trial, start=3)
    add_score(trial, 384, few=60.0)
    add_checkpoint(trial, 384)
    second.sync(dataclasses.replace(trial, state="COMPLETE"))
    assert second.close("FINISHED") == []
    folder = download_study(uri, "study", tmp_path / "copy").trial(7)
    assert len(folder.training().curves()) == 6 and len(folder.scores()) == 1


def test_study_of_an_earlier_version_is_refused_and_leaves_nothing_behind(
    uri: str, tmp_path: Path
) -> None:
    study = study_of(tmp_path)
    write_atomically(study.config, "format: 3\n")
    tracker = make_tracker(uri, tmp_path)
    tracker.log_study(study)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None
    run = client.create_run(experiment.experiment_id, tags={TRIAL: "7", STUDY: TOKEN})
    client.set_terminated(run.info.run_id)
    with pytest.raises(ValueError, match="an earlier version tracked it; allowed: studies"):
        download_study(uri, "study", tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []


def test_folder_that_holds_something_is_refused(uri: str, tmp_path: Path) -> None:
    make_tracker(uri, tmp_path)
    with pytest.raises(ValueError, match=r"directory is .*; allowed: an empty folder, or"):
        download_study(uri, "study", tmp_path)
