"""What follows a running study in the driver."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from diffrop.confirmation.plan import record_failure
from diffrop.console.screens import PlainScreen
from diffrop.engine.observer import StudyObserver
from diffrop.engine.progress import Progress
from diffrop.record.cost_account import CostAccount
from diffrop.record.results import StudyResult, TrialResult
from diffrop.record.study_folder import StudyFolder
from diffrop.tracking.tracked_trial import TrackedTrial
from tests.made.scores import score_card, write_score
from tests.made.small import small_study, small_task
from tests.made.stored_study import store_training, store_trial


class KeepingTracker:
    """Takes the place of MLflow, and keeps each trial as it was synced last."""

    def __init__(self) -> None:
        self.trials: dict[str, TrackedTrial] = {}
        self.num_syncs, self.works = 0, True
        self.tables: list[str] = []

    def sync(self, trial: TrackedTrial) -> bool:
        """Keep it, where it works."""
        self.num_syncs += 1
        if self.works:
            self.trials[trial.label] = trial
        return self.works

    def log_study(self, folder: StudyFolder) -> None:
        """Keep the table."""
        self.tables.append(folder.trials_table.read_text())


@pytest.fixture
def found(tmp_path: Path) -> StudyResult:
    """A baseline and a hinge, both complete."""
    trials = [
        TrialResult(
            number=number,
            state="COMPLETE",
            values={"contrastive.form": form},
            directory=tmp_path / f"trials/t{number:03d}",
            card=None,
            duration_s=1.0,
            message="",
        )
        for number, form in enumerate(("none", "hinge"))
    ]
    return StudyResult(small_study(num_trials=2), trials)


@pytest.fixture
def account(tmp_path: Path) -> CostAccount:
    return CostAccount(StudyFolder(tmp_path))


def test_trial_that_ended_is_logged_until_that_worked_and_then_once_for_each_change(
    found: StudyResult, account: CostAccount
) -> None:
    tracker, results = KeepingTracker(), [found]
    screen = PlainScreen(Console(file=io.StringIO()))
    observer = StudyObserver(lambda: results[-1], account, tracker, screen, {})  # type: ignore[arg-type]
    tracker.works = False
    observer.update()
    tracker.works = True
    observer.update()
    observer.update()
    assert tracker.num_syncs == 4
    first = dataclasses.replace(found.trials[0], feasible=True)
    results.append(dataclasses.replace(found, trials=[first, found.trials[1]]))
    observer.update()
    assert tracker.num_syncs == 5 and tracker.trials["t000"].tags["feasible"] == "True"


def test_screen_is_told_what_share_of_the_budget_is_spent(
    found: StudyResult, account: CostAccount
) -> None:
    shown: list[Progress] = []

    class Keeping(PlainScreen):
        def show(self, progress: Progress) -> None:
            shown.append(progress)

    shares = iter((0.25, 0.95))
    observer = StudyObserver(
        lambda: found,
        account,
        KeepingTracker(),  # type: ignore[arg-type]
        Keeping(Console(file=io.StringIO())),
        {},
        budget_spent=lambda: next(shares),
    )
    observer.update()
    observer.update()
    assert [progress.budget_spent for progress in shown] == [0.25, 0.95]


def test_retrainings_are_shown_and_logged_while_they_run(
    found: StudyResult, account: CostAccount, tmp_path: Path
) -> None:
    tracker, output = KeepingTracker(), io.StringIO()
    screen = PlainScreen(Console(file=output, width=200))
    observer = StudyObserver(lambda: found, account, tracker, screen, {"seed": "0"})  # type: ignore[arg-type]
    observer.update()
    assert tracker.trials.keys() == {"t000", "t001"}
    before = output.tell()
    names = ("t000-s0", "t001-s0", "t001-s1")
    tasks = [small_task(tmp_path / "confirm" / name) for name in names]
    observer.confirming = tasks
    rows = [{"images_seen": 96, "loss/ddpm": 0.25}]
    store_training(tmp_path / "checkpoints", "key", rows=rows)
    store_trial(tasks[1].folder, tmp_path / "checkpoints", "key")
    observer.update()
    running = tracker.trials["t001-s0"]
    assert (running.name, running.state, running.seed) == ("t001-s0 hinge", "RUNNING", 0)
    assert "t000-s0" not in tracker.trials  # it has not begun
    write_score(tasks[0].directory, 41.5, 128)
    record_failure(tasks[1], "non-finite loss")
    observer.update()
    assert (tracker.trials["t000-s0"].state, tracker.trials["t001-s0"].state) == (
        "COMPLETE",
        "FAIL",
    )
    assert tracker.trials["t000-s0"].tags == {"form": "none"}
    first, second, line = output.getvalue()[before:].splitlines()
    assert first == "t000-s0 none (baseline) | COMPLETE at 128 | fid/all 41.50 at N = 40"
    assert second == "t001-s0 hinge | FAIL at 0 | no score: non-finite loss"
    assert line == "2/2 trials | no score yet | 2/3 retrainings"
    observer.confirming = ()
    observer.update()
    assert output.getvalue().splitlines()[-1] == line


def test_table_is_written_each_time_a_trial_has_ended(
    found: StudyResult, account: CostAccount
) -> None:
    running = dataclasses.replace(found.trials[1], state="RUNNING")
    results = [dataclasses.replace(found, trials=[found.trials[0], running])]
    tracker, screen = KeepingTracker(), PlainScreen(Console(file=io.StringIO()))
    observer = StudyObserver(lambda: results[-1], account, tracker, screen, {})  # type: ignore[arg-type]
    observer.update()
    observer.update()
    results.append(found)
    observer.update()
    assert [table.count("RUNNING") for table in tracker.tables] == [1, 0]


def test_table_has_what_was_scored_before_it_is_shown(
    found: StudyResult, account: CostAccount
) -> None:
    path = account.study.trials_table
    first, second = found.trials
    running = dataclasses.replace(second, state="RUNNING")
    scored = dataclasses.replace(running, card=score_card(40.0, images=64))
    results = [dataclasses.replace(found, trials=[first, running])]
    tables: list[str] = []

    class Reading(PlainScreen):
        def show(self, progress: Progress) -> None:
            tables.append(path.read_text())

    tracker, screen = KeepingTracker(), Reading(Console(file=io.StringIO()))
    observer = StudyObserver(lambda: results[-1], account, tracker, screen, {})  # type: ignore[arg-type]
    observer.update()
    results.append(dataclasses.replace(found, trials=[first, scored]))
    observer.update()
    assert ["40.0" in table for table in tables] == [False, True]
    assert len(tracker.tables) == 1  # no further trial has ended
    written = path.stat().st_mtime_ns
    observer.update()
    assert path.stat().st_mtime_ns == written


def test_trial_is_logged_up_to_where_it_was_stopped_or_to_its_next_rung(
    found: StudyResult, account: CostAccount
) -> None:
    first, second = found.trials
    scored = score_card(40.0, images=64)
    trials = [
        dataclasses.replace(first, card=score_card(40.0, images=128)),
        dataclasses.replace(second, state="PRUNED", card=scored),
        dataclasses.replace(second, number=2, state="RUNNING", card=scored),
        dataclasses.replace(second, number=3, state="FAIL"),
    ]
    tracker, screen = KeepingTracker(), PlainScreen(Console(file=io.StringIO()))
    result = dataclasses.replace(found, trials=trials)
    StudyObserver(lambda: result, account, tracker, screen, {}).update()  # type: ignore[arg-type]
    found_ends = {label: trial.until for label, trial in tracker.trials.items()}
    assert found_ends == {"t000": 128, "t001": 64, "t002": 128, "t003": 64}
    assert {trial.log_every_images for trial in tracker.trials.values()} == {32}
