"""Requests whose answer is lost, and databases that are away for a moment."""

import itertools
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState
from sqlalchemy.orm import Session

from diffrop.errors import OutageError, StudyError
from diffrop.patience import Patience
from diffrop.record import patient_storage
from diffrop.record.patient_storage import open_patiently
from tests.made.postgresql import new_server

DIRECTIONS = ["minimize", "minimize"]


def run_trials(study: optuna.Study) -> None:
    """Do all that a study does with its database."""
    study.set_user_attr("config", {"a": 1})
    for number in range(2):
        trial = study.ask()
        trial.set_user_attr("driver", "me")
        trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("c", ["a", "b"])
        trial.set_user_attr("rungs", {"64": 1.5})
        trial.set_user_attr("rungs", {"64": 1.5, "128": 1.0})
        trial.set_constraint("k", 0.0)
        study.tell(trial, (1.0, float(number)), TrialState.COMPLETE, skip_if_finished=True)
    trial = study.ask()
    study.tell(trial, None, TrialState.FAIL, skip_if_finished=True)
    study.ask()


def content(study: optuna.Study) -> list[object]:
    """What is stored of a study, but times, tokens and draws."""
    found: list[object] = [study.user_attrs]
    for trial in study.get_trials():
        row = (trial.number, trial.state, trial.values, sorted(trial.params), trial.user_attrs)
        found.append((*row, trial.constraints, trial.intermediate_values))
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a study; SQLite takes its time to make the tables."""
    path = tmp_path_factory.mktemp("made") / "s.db"
    open_study(f"sqlite:///{path}", Patience(60))
    return path


@pytest.fixture
def database(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / "s.db"))


def open_study(url: str | Path, patience: Patience) -> optuna.Study:
    url = f"sqlite:///{url}" if isinstance(url, Path) else url
    return optuna.create_study(
        study_name="s",
        storage=open_patiently(url, patience),
        directions=DIRECTIONS,
        sampler=optuna.samplers.RandomSampler(0),
        load_if_exists=True,
    )


class Strike:
    """Makes commits fail, before they are done or after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plan: Iterator[str] = iter(())
        """What happens to each commit from now on: refused, lost (its answer), or nothing."""
        self.count = 0
        commit = Session.commit

        def struck(session: Session) -> None:
            now = next(self.plan, "")
            if now != "refused":
                commit(session)
            if now:
                self.count += 1
                gone = sqlite3.OperationalError("the connection is gone")
                raise sqlalchemy.exc.OperationalError("COMMIT", {}, gone)

        monkeypatch.setattr(Session, "commit", struck)


@pytest.fixture
def strike(monkeypatch: pytest.MonkeyPatch) -> Strike:
    monkeypatch.setattr("optuna.storages._rdb.storage.time.sleep", lambda seconds: None)
    monkeypatch.setattr("diffrop.patience.POLL_S", 0.0)
    monkeypatch.setattr("diffrop.patience.FIRST_PAUSE_S", 0.0)
    return Strike(monkeypatch)


def at_random() -> Iterator[str]:
    draw = random.Random(0)
    while True:
        yield draw.choice(["refused", "lost", ""])


@pytest.mark.parametrize(
    "plan",
    [
        itertools.cycle(["refused", ""]),
        itertools.cycle(["lost", "", ""]),
        itertools.cycle(["", "lost", ""]),
        itertools.cycle(["", "", "lost"]),
        at_random(),
    ],
    ids=["refused", "lost, first", "lost, second", "lost, third", "at random"],
)
def test_no_request_is_lost_or_done_twice(strike: Strike, plan: Iterator[str]) -> None:
    undisturbed, study = (open_study("sqlite://", Patience(60)) for _ in range(2))  # in memory
    run_trials(undisturbed)
    assert [trial.state.name for trial in undisturbed.trials] == [
        *["COMPLETE"] * 2,
        "FAIL",
        "RUNNING",
    ]
    strike.plan = plan
    run_trials(study)
    strike.plan = iter(())
    assert strike.count > 10
    assert content(study) == content(undisturbed)


def test_trial_that_another_driver_ended_is_not_taken_for_ones_own(
    strike: Strike, database: Path
) -> None:
    study = open_study(database, Patience(60))
    trial = study.ask()
    theirs = open_study(database, Patience(60))
    theirs._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, (3.0, 4.0))
    strike.plan = iter(["", "refused"])  # the first is of the reading of the trial
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, (1.0, 2.0))
    assert study.trials[0].values == [3.0, 4.0]


HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1])
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def locked(database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A function that locks the database in another process; called again, it gives it back."""
    monkeypatch.setattr(patient_storage, "BUSY_S", 0.1)
    command = [sys.executable, "-c", HOLD, str(database)]
    holder: subprocess.Popen[str] | None = None

    def turn() -> None:
        nonlocal holder
        if holder is not None:
            holder.communicate()
            return
        pipe = subprocess.PIPE
        holder = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"

    yield turn
    if holder is not None:
        holder.kill()
        holder.wait()


@pytest.mark.timeout(60)
def test_locked_database_is_waited_for(locked: Callable[[], None], database: Path) -> None:
    said: list[str] = []

    def say(sentence: str) -> None:
        said.append(sentence)
        if len(said) == 1:
            locked()

    study = open_study(database, Patience(50, say))
    locked()
    run_trials(study)
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3]
    assert "database is locked" in said[0] and said[1].startswith("Going on after")


@pytest.mark.timeout(60)
def test_database_that_stays_locked_is_given_up(
    locked: Callable[[], None], database: Path
) -> None:
    given_up: list[str] = []
    study = open_study(database, Patience(0.5, give_up=given_up.append))
    locked()
    with pytest.raises(OutageError, match=r"s\.db cannot be used \(database is locked\).*--resum"):
        study.ask()
    assert len(given_up) == 1


@pytest.mark.timeout(60)
def test_full_database_is_waited_for_until_there_is_room(database: Path) -> None:
    said: list[str] = []
    most_pages = 1

    def set_size(connection: Any, *rest: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {most_pages}")  # at least what there is

    def make_room(sentence: str) -> None:
        nonlocal most_pages
        said.append(sentence)
        most_pages = 1_000_000

    patience = Patience(0.3)
    study = open_study(database, patience)
    engine = study._storage._storage._backend.engine  # type: ignore[attr-defined]
    sqlalchemy.event.listen(engine, "checkout", set_size)
    with pytest.raises(OutageError, match="database or disk is full"):
        study.set_user_attr("large", "x" * 100_000)
    patience.limit_s, patience.say, patience._since = 50, make_room, None
    study.set_user_attr("large", "x" * 100_000)
    assert study.user_attrs["large"] == "x" * 100_000
    assert "full" in said[0]


def test_database_that_is_damaged_is_not_waited_for(database: Path) -> None:
    study = open_study(database, Patience(3600))
    study.ask()
    study._storage._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    database.write_bytes(b"not a database" * 1000)
    with pytest.raises(StudyError, match=r"cannot be used \(.*not a database\).*from a copy"):
        study.set_user_attr("key", 1)


@pytest.mark.timeout(120)
def test_restarted_server_is_waited_for_and_nothing_is_lost_or_done_twice() -> None:
    said: list[str] = []
    with new_server() as server:

        def say(sentence: str) -> None:
            said.append(sentence)
            if len(said) == 1:
                server.start()

        study = open_study(server.url, Patience(100, say))
        trial = study.ask()
        server.stop()
        study.tell(trial, (1.0, 2.0))
        assert len(said) == 2, said
        server.stop()
        server.start()  # connections that were open are dead
        run_trials(study)
        assert [found.number for found in study.trials] == [0, 1, 2, 3, 4]
        assert study.trials[0].values == [1.0, 2.0]
