"""What a launch leaves behind; its stages, which take a cluster, are left out."""

import contextlib
import dataclasses
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from diffrop.confirmation.assessment import assess
from diffrop.confirmation.conclusion import confirmation_record
from diffrop.console.results import conclusions
from diffrop.console.screens import QuietScreen
from diffrop.engine import run as engine
from diffrop.engine.prepare import PreparedStudy, fingerprints_of
from diffrop.engine.progress import Render
from diffrop.engine.run import FinishedStudy, run_study
from diffrop.engine.study_run import StudyRun
from diffrop.errors import FaultError, OutageError
from diffrop.record.confirmation import ConfirmationRecord, ConfirmedLeader
from diffrop.record.json_files import read_record, write_record
from diffrop.record.study_folder import StudyFolder
from diffrop.tracking.tracker import Tracker
from tests.made.confirmations import confirmation
from tests.made.scores import score_card
from tests.made.small import small_inputs, small_study
from tests.made.stored_study import MadeTrial, store_study
from tests.made.studies import launch_in, run_small

SAME = "No difference found."
JOIN_CLUSTER = engine._join_cluster


def confirmed(num_left: int = 0, finding: str = SAME) -> ConfirmationRecord:
    """The confirmation of trials 1 and 2 of the first three, of which none is named."""
    means = None if num_left else -0.1
    leaders = tuple(
        ConfirmedLeader(trial=number, name=f"t{number:03d}", mean=means, objectives={})
        for number in (1, 2)
    )
    nothing = confirmation_record(assess(confirmation(1, 2), {}), 3, num_left)
    return dataclasses.replace(nothing, leaders=leaders, finding=finding, conclusion=finding)


def finish(
    folder: Path, values: list[float], record: ConfirmationRecord, **launched: object
) -> FinishedStudy:
    """End a launch whose trials have these scores, and that has this confirm.json."""
    config, inputs = small_study(num_trials=len(values)), small_inputs()
    first = launch_in(folder)
    trials = [
        MadeTrial(number=number, values={"contrastive.form": "hinge"}, cards=[score_card(value)])
        for number, value in enumerate(values)
    ]
    store, _ = store_study(
        Path(first.runs_root), config, trials, launch=first, fingerprints=fingerprints_of(inputs)
    )
    write_record(store.folder.confirmation, record)
    launch = launch_in(folder, resume=True, **launched)
    prepared = PreparedStudy(store, inputs, reference_scores={})
    return run_study(config, launch, prepared, "command", QuietScreen(), lambda path, standing: [])


@pytest.fixture(autouse=True)
def _no_cluster(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster starts, no stage takes place, and MLflow's tables are there."""
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_database, tmp_path / "runs" / "mlflow.db")
    monkeypatch.setattr(engine, "_join_cluster", lambda *args: None)
    monkeypatch.setattr(engine, "_run_stages", lambda *args: None)


def best_trial(finished: FinishedStudy) -> int:
    content = yaml.safe_load((finished.directory / "best.yaml").read_text())
    return int(content["provenance"]["trial"])


def test_confirmation_of_the_present_leaders_decides(tmp_path: Path) -> None:
    finished = finish(tmp_path, [50.0, 40.0, 41.0, 45.0], confirmed())
    assert best_trial(finished) == 0  # a further trial, but no new leader
    assert conclusions(StudyFolder(finished.directory))[-1] == "Confirmed: No difference found."


def test_confirmation_of_earlier_leaders_says_so_and_decides_nothing(tmp_path: Path) -> None:
    finished = finish(tmp_path, [50.0, 40.0, 41.0, 30.0], confirmed())
    told = "The confirmation is of the first 3 trials, not of the present leaders. No difference"
    assert best_trial(finished) == 3
    assert told in conclusions(StudyFolder(finished.directory))[-1]
    record = finished.result.confirmation
    assert record is not None and told in record.conclusion
    client = MlflowClient(finished.tracking_uri)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (note,) = [
        text for run in runs if "Confirmation" in (text := run.data.tags["mlflow.note.content"])
    ]
    assert told in note


def test_budget_that_cut_a_confirmation_short_is_named(tmp_path: Path) -> None:
    finding = "Not decided yet: 7 of 9 retrainings are left."
    record = confirmed(num_left=7, finding=finding)
    finished = finish(tmp_path, [50.0, 40.0, 41.0], record, confirm=2, budget_wall_s=1e-3)
    assert finished.refusal.startswith("the budget of 0.001 seconds has ")
    found = read_record(StudyFolder(finished.directory).confirmation, ConfirmationRecord)
    assert found is not None
    assert found.conclusion == f"Ended early: {finished.refusal}. {finding}"
    assert best_trial(finished) == 1


def test_weights_are_removed_by_the_last_driver_to_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[str] = []
    monkeypatch.setattr(
        engine, "remove_unneeded_weights", lambda run: cleaned.append(run.config.name)
    )
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    launch = launch_in(tmp_path, storage=storage, keep_trials=1)
    folder = run_small(small_study(), launch).directory
    assert cleaned == ["small"]
    another = folder / "drivers/elsewhere-1-abc"
    another.touch()
    (folder / "stop").touch()
    resumed = dataclasses.replace(launch, resume=True)
    run_small(small_study(), resumed)
    assert cleaned == ["small"] and (folder / "stop").exists()  # both are the other one's, too
    another.unlink()
    assert not run_small(small_study(), resumed).interrupted
    assert cleaned == ["small", "small"]
    assert not (folder / "stop").exists()


def test_request_by_hand_goes_with_the_last_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(run: StudyRun, joined: object) -> None:
        assert not run.stop.requested
        (tmp_path / "runs/small/stop").touch()

    monkeypatch.setattr(engine, "_run_stages", asked)
    found = run_small(small_study(), launch_in(tmp_path))
    assert found.interrupted and not (found.directory / "stop").exists()


@pytest.mark.parametrize("error", [FaultError("no Ray"), KeyboardInterrupt()])
def test_study_whose_cluster_does_not_start_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(run: StudyRun, joined: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_join_cluster", fail)
        with pytest.raises(type(error)):
            run_small(small_study(), launch_in(tmp_path))
    assert not (tmp_path / "runs/small").exists()
    assert run_small(small_study(), launch_in(tmp_path)).result.trials == []  # not refused


class ToldScreen(QuietScreen):
    """Keeps what it is told, in the order of all that happens."""

    def __init__(self, happened: list[str]) -> None:
        self.happened = happened

    def say(self, sentence: str) -> None:
        """Keep it."""
        self.happened.append(sentence)


def closed(folder: Path, happened: list[str], render: Render) -> FinishedStudy:
    """End a launch of one trial; what it shows, draws and says is in `happened`."""

    def show(finished: FinishedStudy) -> None:
        assert (finished.directory / "trials.csv").exists()
        happened.append(f"results, interrupted: {finished.interrupted}")

    config, inputs = small_study(), small_inputs()
    first, launch = launch_in(folder), launch_in(folder, resume=True)
    trials = [MadeTrial(number=0, values={"contrastive.form": "none"}, cards=[score_card(1.0)])]
    prints = fingerprints_of(inputs)
    store, _ = store_study(
        Path(first.runs_root), config, trials, launch=first, fingerprints=prints
    )
    prepared = PreparedStudy(store, inputs, reference_scores={})
    return run_study(config, launch, prepared, "command", ToldScreen(happened), render, show)


def test_stopped_launch_shows_its_results_and_then_draws_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    def draw_for_ever(folder: Path, standing: str) -> list[Path]:
        happened.append("drawing")
        while True:
            try:
                time.sleep(0.01)
            except Exception:  # as one figure must not cost the others
                happened.append("a guard that catches the limit")

    def stop_at_once(run: StudyRun, joined: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(engine, "DRAW_STOPPED_S", 0.1)
    monkeypatch.setattr(engine, "_run_stages", stop_at_once)
    found = closed(tmp_path, happened, draw_for_ever)
    assert found.interrupted
    asked, *others = [event for event in happened if "asks to stop" in event] + [
        event for event in happened if "asks to stop" not in event
    ]
    assert asked.startswith("SIGTERM asks to stop: ")
    assert others[:2] == ["results, interrupted: True", "drawing"]
    assert others[2].startswith("Not all figures were drawn") and len(others) == 3
    assert f"diffrop report {found.directory}" in others[2]


def test_signal_while_it_draws_costs_the_figures_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    def interrupted(folder: Path, standing: str) -> list[Path]:
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it goes on")

    monkeypatch.setattr(engine, "_run_stages", lambda *args: None)
    found = closed(tmp_path, happened, interrupted)
    assert found.interrupted and happened[0] == "results, interrupted: False"
    assert any(event.startswith("Not all figures were drawn") for event in happened)


def test_drawing_that_fails_costs_neither_results_nor_exit_code(tmp_path: Path) -> None:
    happened: list[str] = []

    def fail(folder: Path, standing: str) -> list[Path]:
        raise KeyError("fid/few")

    found = closed(tmp_path, happened, fail)
    assert not found.interrupted and happened[0] == "results, interrupted: False"
    assert "could not be drawn: unexpected KeyError ('fid/few'). To draw them" in happened[1]
    assert "Traceback" in (found.directory / "study.log").read_text()


def test_last_page_is_live_where_another_driver_goes_on(tmp_path: Path) -> None:
    drawn: list[str] = []

    def render(folder: Path, standing: str) -> list[Path]:
        drawn.append(standing)
        return []

    with_others = closed(tmp_path / "a", [], render).directory
    assert drawn == [""] and not list((with_others / "drivers").iterdir())

    def join(run: StudyRun, joined: object) -> None:
        (run.folder.drivers / "elsewhere-1-abc").touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_run_stages", join)
        closed(tmp_path / "b", [], render)
    assert drawn[1].startswith("1 of 3 trials done, 0 running; ")


def test_launch_that_an_outage_ends_shows_its_results_and_counts_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(run: StudyRun, joined: object) -> None:
        run.stop_for_outage("the disk is full")

    happened: list[str] = []
    ends: list[str] = []
    monkeypatch.setattr(engine, "_run_stages", lose)
    monkeypatch.setattr(Tracker, "close", lambda tracker, status: ends.append(status) or [])
    with pytest.raises(OutageError, match="the disk is full"):
        closed(tmp_path, happened, lambda folder, standing: [])
    assert "results, interrupted: True" in happened and ends == ["FAILED"]


def test_second_signal_goes_on_to_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def insist(run: StudyRun, joined: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "_run_stages", insist)
    happened: list[str] = []
    closed(tmp_path, happened, lambda folder, standing: [])
    assert happened == ["results, interrupted: False"]


def test_first_signal_while_ray_starts_ends_at_once_and_leaves_no_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def starting(*args: object) -> Iterator[None]:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("it goes on")
        yield

    monkeypatch.setattr(engine, "_join_cluster", JOIN_CLUSTER)
    monkeypatch.setattr(engine.cluster, "connect", starting)
    with pytest.raises(KeyboardInterrupt):
        run_small(small_study(), launch_in(tmp_path))
    assert not (tmp_path / "runs/small").exists()
