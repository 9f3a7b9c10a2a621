import contextlib
import math
import threading
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from diffrop.search.ownership import PeerDrivers, num_remaining, unfinished
from diffrop.search.searcher import OptunaStudySearcher
from diffrop.study.config import StudyConfig
from tests.made.postgresql import running_server
from tests.made.small import small_study


def result(score: float) -> dict[str, Any]:
    return {"images_seen": 128, "score": score, "final": True}


def numbers(found: OptunaStudySearcher, names: str) -> list[Any]:
    points = [found.suggest(name) for name in names]
    return [point["number"] if isinstance(point, dict) else point for point in points]


def test_two_drivers_make_exactly_as_many_trials_as_the_study_has(tmp_path: Path) -> None:
    study, config = optuna.create_study(), small_study(num_trials=5)
    alive = {"a", "b"}

    def peers(name: str) -> PeerDrivers:
        return PeerDrivers(name, lambda driver: driver in alive, tmp_path / "ask.lock")

    one = OptunaStudySearcher(study, config, peers=peers("a"))
    two = OptunaStudySearcher(study, config, peers=peers("b"))
    assert numbers(one, "kl") == [0, 1]
    assert numbers(two, "mno") == [2, 3, 4]
    assert one.suggest("p") is None  # there may yet be something to take over

    def free() -> list[int]:
        return [trial.number for trial in unfinished(study.trials, peers("a"), frozenset())]

    assert free() == [0, 1] and num_remaining(study, config) == 5
    alive.remove("b")
    assert free() == [0, 1, 2, 3, 4] and num_remaining(study, config) == 5
    one._read_at = -math.inf
    assert numbers(one, "qrs") == [2, 3, 4]
    assert one.suggest("t") == Searcher.FINISHED
    one.on_trial_complete("q", result(1.0))
    two.on_trial_complete("m", result(2.0))  # it was only slow
    assert study.trials[2].value == 1.0


@pytest.mark.parametrize("how", ["runs elsewhere", "rests"])
def test_no_trial_begins_before_the_baseline_has_ended(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, config = optuna.create_study(), small_study()

    def found(name: str) -> OptunaStudySearcher:
        peers = PeerDrivers(name, lambda driver: True, tmp_path / "ask.lock")
        return OptunaStudySearcher(study, config, peers=peers, num_trials=1)

    monkeypatch.setattr("diffrop.search.searcher.REFRESH_S", -1.0)
    one, two = found("a"), found("b")
    assert numbers(one, "k") == [0]
    waiting, runs = (two, "k") if how == "runs elsewhere" else (one, "m")
    if how == "rests":
        one.on_trial_complete("k", {"stopped": True})
    assert waiting.suggest("l") is None and waiting.suggest("l") is None
    assert len(study.trials) == 1
    if how == "rests":
        one._cooling_down[0] = 0.0
        assert numbers(one, "m") == [0]
    one.on_trial_complete(runs, result(1.0))
    assert waiting.suggest("n") == two.suggest("n") == Searcher.FINISHED
    assert numbers(OptunaStudySearcher(study, config), "op") == [1, 2]


def drive(config: StudyConfig, url: str, lock: Path, name: str, ran: list[int]) -> None:
    """Run trials of a study in a database until there are none."""
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    storage = optuna.storages.RDBStorage(url, options)
    study = optuna.load_study(study_name="shared", storage=storage)
    peers = PeerDrivers(name, lambda driver: True, lock)
    found = OptunaStudySearcher(study, config, peers=peers)
    turn = 0
    while (point := found.suggest(f"{name}{turn}")) != Searcher.FINISHED:
        if isinstance(point, dict):
            ran.append(point["number"])
            found.on_trial_complete(f"{name}{turn}", result(float(point["number"])))
        turn += 1


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_drivers_that_ask_at_once_never_share_a_trial(tmp_path: Path, database: str) -> None:
    config = small_study(num_trials=12, sampler="random")
    ran: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    with contextlib.ExitStack() as stack:
        url = f"sqlite:///{tmp_path / 'study.db'}"
        if database == "postgresql":
            url = stack.enter_context(running_server())
        optuna.create_study(study_name="shared", storage=url)
        threads = [
            threading.Thread(target=drive, args=(config, url, tmp_path / "ask.lock", *item))
            for item in ran.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        trials = optuna.load_study(study_name="shared", storage=url).trials
    assert sorted(number for numbers in ran.values() for number in numbers) == list(range(12))
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 12
    assert {trial.user_attrs["driver"] for trial in trials} == {n for n, of in ran.items() if of}
