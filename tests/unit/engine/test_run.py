"""What a launch leaves behind; its stages, which take a cluster, are left out."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from diffrop.console.results import conclusions
from diffrop.console.screens import QuietScreen
from diffrop.engine import run as engine
from diffrop.engine.drivers import StopSignal
from diffrop.engine.prepare import PreparedStudy, fingerprints_of
from diffrop.engine.run import FinishedStudy, run_study
from diffrop.record.json_files import read_record
from diffrop.record.study_store import StudyStore
from diffrop.record.trial_state import RUNGS, VALUES
from diffrop.storage import write_atomically
from tests.made.small import small_inputs, small_study
from tests.made.studies import launch_in, run_small
from tests.unit.record.test_results import card

CONFIRMED: dict[str, Any] = {
    "leaders": [{"trial": number, "mean": -0.1, "name": f"t{number:03d}"} for number in (1, 2)],
    "best": None,
    "num_trials": 3,
    "num_left": 0,
    "current": True,
    "finding": "No difference found.",
    "verdict": "No difference found.",
}


def finish(
    folder: Path, values: list[float], book: dict[str, Any], **launched: object
) -> FinishedStudy:
    """End a launch whose trials have these scores, and that has this confirm.json."""
    config, inputs = small_study(num_trials=len(values)), small_inputs()
    first = launch_in(folder)
    store = StudyStore(Path(first.runs_root), config.name)
    study = store.create(config, "command", first, fingerprints_of(inputs))
    for number, value in enumerate(values):
        trial = study.ask()
        trial.set_user_attr(VALUES, {"contrastive.form": "hinge"})
        trial.set_user_attr(RUNGS, {"128": {"values": [value], "num_samples": 40}})
        scores = store.folder.trial(number).path / "scores" / "images_000000000128.json"
        write_atomically(scores, json.dumps(card(value).to_dict()))
        study.tell(number, value)
    write_atomically(store.path / "confirm.json", json.dumps(book))
    launch = launch_in(folder, resume=True, **launched)
    prepared = PreparedStudy(store, inputs, anchors={})
    return run_study(config, launch, prepared, "command", QuietScreen(), lambda path: [])


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_run_stages", lambda *args: None)


def best_trial(finished: FinishedStudy) -> int:
    content = yaml.safe_load((finished.directory / "best.yaml").read_text())
    return int(content["provenance"]["trial"])


def test_confirmation_of_the_present_leaders_decides(tmp_path: Path) -> None:
    finished = finish(tmp_path, [50.0, 40.0, 41.0, 45.0], CONFIRMED)
    assert best_trial(finished) == 0  # a further trial, but no new leader
    assert conclusions(finished.directory)[-1] == "Confirmed: No difference found."


def test_confirmation_of_earlier_leaders_says_so_and_decides_nothing(tmp_path: Path) -> None:
    finished = finish(tmp_path, [50.0, 40.0, 41.0, 30.0], CONFIRMED)
    told = "The confirmation is of the first 3 trials, not of the present leaders. No difference"
    assert best_trial(finished) == 3
    assert told in conclusions(finished.directory)[-1]
    assert told in finished.result.confirmation["verdict"]
    client = MlflowClient(finished.tracking_uri)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (told_there,) = filter(None, (run.data.tags.get("verdict.confirmation") for run in runs))
    assert told in told_there


def test_budget_that_cut_a_confirmation_short_is_named(tmp_path: Path) -> None:
    unknown = [{**leader, "mean": None} for leader in CONFIRMED["leaders"]]
    finding = "Not decided yet: 7 of 9 retrainings are left."
    book = {**CONFIRMED, "leaders": unknown, "num_left": 7, "finding": finding}
    finished = finish(tmp_path, [50.0, 40.0, 41.0], book, confirm=2, budget_wall_s=1e-3)
    assert finished.refusal.startswith("the budget of 0.001 seconds has ")
    verdict = read_record(finished.directory, "confirm.json")["verdict"]
    assert verdict == f"Ended early: {finished.refusal}. {finding}"
    assert best_trial(finished) == 1


def test_weights_are_swept_by_the_last_driver_to_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[str] = []
    monkeypatch.setattr(engine, "_run_stages", lambda *args: None)
    monkeypatch.setattr(
        engine, "remove_unneeded_weights", lambda result, launch, store: swept.append(store.name)
    )
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    launch = launch_in(tmp_path, storage=storage, keep_trials=1)
    folder = run_small(small_study(), launch).directory
    assert swept == ["small"]
    another = folder / "drivers/elsewhere-1-abc"
    another.touch()
    (folder / "stop").touch()
    resumed = dataclasses.replace(launch, resume=True)
    run_small(small_study(), resumed)
    assert swept == ["small"] and (folder / "stop").exists()  # both are the other one's, too
    another.unlink()
    assert not run_small(small_study(), resumed).interrupted
    assert swept == ["small", "small"]
    assert not (folder / "stop").exists()


def test_request_by_hand_goes_with_the_last_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*args: object) -> None:
        stop = args[-1]
        assert isinstance(stop, StopSignal) and not stop.requested
        (tmp_path / "runs/small/stop").touch()

    monkeypatch.setattr(engine, "_run_stages", asked)
    found = run_small(small_study(), launch_in(tmp_path))
    assert found.interrupted and not (found.directory / "stop").exists()
