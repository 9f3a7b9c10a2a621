from pathlib import Path
from unittest.mock import Mock

from ray.tune.search import Searcher

from diffrop.execution.task_sources import FixedTasks, FixedTaskSearcher, SearchTasks
from diffrop.record.trial_state import Failed, Stopped, to_result
from diffrop.search.searcher import WORKER_LOST
from tests.made.small import small_task


def test_places_of_a_list_are_handed_out_once_each() -> None:
    searcher = FixedTaskSearcher(2, lambda: True)
    assert [searcher.suggest(name) for name in "abc"] == [
        {"place": 0},
        {"place": 1},
        Searcher.FINISHED,
    ]


def test_nothing_is_handed_out_once_nothing_may_begin() -> None:
    allowed = [True, False]
    searcher = FixedTaskSearcher(3, lambda: allowed.pop(0))
    assert searcher.suggest("a") == {"place": 0}
    assert searcher.suggest("b") == Searcher.FINISHED


def test_failures_are_noted_by_place_and_stops_are_none() -> None:
    searcher = FixedTaskSearcher(4, lambda: True)
    for name in "abcd":
        searcher.suggest(name)
    searcher.on_trial_complete("d", to_result(Failed(message="no memory")))
    searcher.on_trial_complete("b", None, error=True)
    searcher.on_trial_complete("a", to_result(Stopped()))
    searcher.on_trial_complete("c", None)
    assert searcher.failures == {3: "no memory", 1: WORKER_LOST}


def test_point_becomes_the_task_of_its_place_or_of_its_trial(tmp_path: Path) -> None:
    tasks = [small_task(tmp_path / "small" / name) for name in ("a", "b")]
    assert FixedTasks(tasks).task({"place": 1}) is tasks[1]
    maker = Mock()
    point = {"number": 3, "values": {"a": 1}, "parent": None, "baseline": False}
    assert SearchTasks(maker).task(point) is maker.trial.return_value
    maker.trial.assert_called_once_with(3, {"a": 1}, None)
