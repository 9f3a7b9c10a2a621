"""What Tune runs: the trials that a searcher suggests, or a list of tasks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ray.tune.search import Searcher

from diffrop.execution.tasks import TaskMaker
from diffrop.execution.trial import TrialTask
from diffrop.record.trial_state import Failed, Stopped, read_report
from diffrop.search.searcher import WORKER_LOST


class TaskSource(Protocol):
    """What turns a point of Tune's into a task, on the node that runs it."""

    def task(self, point: Mapping[str, Any]) -> TrialTask:
        """Return the task of a point."""


@dataclass(frozen=True)
class SearchTasks:
    """The trials that the searcher suggests."""

    maker: TaskMaker

    def task(self, point: Mapping[str, Any]) -> TrialTask:
        """Return the task of a suggested trial."""
        return self.maker.trial(point["number"], point["values"], point["parent"])


@dataclass(frozen=True)
class FixedTasks:
    """Tasks that are known beforehand."""

    tasks: Sequence[TrialTask]

    def task(self, point: Mapping[str, Any]) -> TrialTask:
        """Return the task of a place in the list."""
        return self.tasks[point["place"]]


class FixedTaskSearcher(Searcher):
    """Hands out the places of a list, and notes which tasks failed for good."""

    def __init__(
        self,
        count: int,
        may_begin: Callable[[], bool],
        outage: Callable[[str], object] = lambda what: None,
    ) -> None:
        """Begin with the first of `count` places.

        Args:
            count: of the tasks.
            may_begin: none is handed out once this is False.
            outage: told what was away for longer than a task waits.
        """
        super().__init__()
        self._left, self._may_begin, self._outage = list(range(count)), may_begin, outage
        self._places: dict[str, int] = {}
        self.failures: dict[int, str] = {}
        """By place, why a task failed."""

    def __getstate__(self) -> dict[str, Any]:
        """Pickle as nothing: Tune stores its search for a restore that we do not use."""
        return {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept whatever Tune says."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """Return the next place, or FINISHED."""
        if not self._left or not self._may_begin():
            return str(Searcher.FINISHED)
        self._places[trial_id] = self._left.pop(0)
        return {"place": self._places[trial_id]}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note why a task failed; one that was stopped did not."""
        report = read_report(result)
        if error:
            self.failures[self._places[trial_id]] = WORKER_LOST
        elif isinstance(report, Failed):
            self.failures[self._places[trial_id]] = report.message
        elif isinstance(report, Stopped) and report.outage:
            self._outage(report.outage)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: what was done lies in the tasks' folders."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a new searcher gets what is left."""
