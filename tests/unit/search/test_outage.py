"""A driver whose database is away for longer than it waits: no trial fails, none is lost."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from diffrop.errors import OutageError
from diffrop.record.trial_state import Stopped, to_result
from diffrop.search import ownership
from diffrop.search.ownership import PeerDrivers
from diffrop.search.scheduler import StudyScheduler
from diffrop.search.searcher import OptunaStudySearcher
from diffrop.storage import try_lock
from tests.made.small import small_study

GOES_ON = str(TrialScheduler.CONTINUE)


class AwayStorage(InMemoryStorage):
    """Answers no request while it is away."""

    away = False

    def __getattribute__(self, name: str) -> Any:
        """Look up a method, or fail."""
        public = name.startswith(("get_", "set_", "create_"))
        if public and object.__getattribute__(self, "away"):
            raise OutageError("the database is away")
        return super().__getattribute__(name)

    @contextlib.contextmanager
    def being_away(self) -> Iterator[None]:
        """Be away."""
        self.away = True
        yield
        self.away = False


@pytest.fixture
def storage() -> AwayStorage:
    return AwayStorage()


def open_study(storage: AwayStorage) -> optuna.Study:
    return optuna.create_study(study_name="s", storage=storage, load_if_exists=True)


def rung(images: int, score: float) -> dict[str, Any]:
    return {"images_seen": images, "score": score, "final": images == 128}


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (rung(128, 40.0), TrialState.COMPLETE),
        ({"failure": "loss not finite"}, TrialState.FAIL),
        (None, TrialState.FAIL),
    ],
    ids=["complete", "failed", "worker lost"],
)
def test_trial_that_ends_meanwhile_is_handed_out_again_and_ends_then(
    storage: AwayStorage, end: dict[str, Any] | None, state: TrialState
) -> None:
    study, config = open_study(storage), small_study(num_trials=2)
    searcher = OptunaStudySearcher(study, config)
    scheduler = StudyScheduler(config, searcher)
    point = searcher.suggest("a")
    trial = SimpleNamespace(trial_id="a", config=point)
    with storage.being_away():
        assert scheduler.on_trial_result(None, trial, rung(64, 50.0)) == GOES_ON
        searcher.on_trial_result("a", rung(64, 50.0))
        searcher.on_trial_complete("a", end, error=end is None)
        assert searcher.suggest("b") == Searcher.FINISHED
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]
    again = OptunaStudySearcher(study, config)  # of the next launch
    assert again.suggest("c") == point
    again.on_trial_result("c", rung(64, 50.0))
    again.on_trial_complete("c", end, error=end is None)
    assert [trial.state for trial in study.trials] == [state]
    assert next(iter(study.trials[0].user_attrs["rungs"])) == "64"


def test_score_that_could_not_be_stored_is_stored_when_it_comes_again(
    storage: AwayStorage,
) -> None:
    study = open_study(storage)
    searcher = OptunaStudySearcher(study, small_study(num_trials=2))
    searcher.suggest("a")
    with storage.being_away():
        searcher.on_trial_result("a", rung(64, 50.0))
    searcher.on_trial_result("a", rung(64, 50.0))
    searcher.on_trial_complete("a", rung(128, 40.0))
    assert list(study.trials[0].user_attrs["rungs"]) == ["64", "128"]


def test_driver_does_not_hang_at_the_lock_of_one_that_waits(
    storage: AwayStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "LOCK_WAIT_S", 0.05)
    lock = tmp_path / "ask.lock"
    study, peers = open_study(storage), PeerDrivers("me", lambda name: True, lock)
    searcher = OptunaStudySearcher(study, small_study(num_trials=2), peers=peers)
    began = time.monotonic()
    with try_lock(lock) as held:
        assert held and searcher.suggest("a") is None
    assert time.monotonic() - began < 30
    assert isinstance(searcher.suggest("a"), dict)
    assert len(study.trials) == 1


def test_trial_that_found_no_room_stays_unfinished_and_its_reason_is_told() -> None:
    study, told = optuna.create_study(), list[str]()
    searcher = OptunaStudySearcher(study, small_study(num_trials=2), outage=told.append)
    searcher.suggest("a")
    searcher.on_trial_complete("a", to_result(Stopped(outage="no room")))
    searcher.suggest("b")
    searcher.on_trial_complete("b", to_result(Stopped()))
    assert told == ["no room"]
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING] * 2
