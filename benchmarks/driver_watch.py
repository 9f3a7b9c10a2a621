"""What the driver of a study takes: seconds by part, memory, descriptors, threads, processes."""

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import optuna
import psutil

from diffrop.engine.observer import StudyObserver
from diffrop.execution.ray_private import default_folder
from diffrop.record.result_reader import ResultReader
from diffrop.search.scheduler import StudyScheduler
from diffrop.search.searcher import OptunaStudySearcher
from diffrop.tracking.tracker import Tracker


@dataclass
class Stopwatch:
    """The driver's seconds by part; a part does not include those nested in it."""

    wall: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    processor: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    calls: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _inner: list[tuple[float, float]] = field(default_factory=list)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its time taken."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter(), time.thread_time()
            self._inner.append((0.0, 0.0))
            try:
                return function(*args, **kwargs)
            finally:
                taken = time.perf_counter() - start[0], time.thread_time() - start[1]
                inner = self._inner.pop()
                self.wall[name] += taken[0] - inner[0]
                self.processor[name] += taken[1] - inner[1]
                self.calls[name] += 1
                if self._inner:
                    outer = self._inner.pop()
                    self._inner.append((outer[0] + taken[0], outer[1] + taken[1]))

        return wrapper


PARTS: tuple[tuple[str, Any, str], ...] = (
    ("sampler", optuna.samplers.TPESampler, "infer_relative_search_space"),
    ("sampler", optuna.samplers.TPESampler, "sample_relative"),
    ("sampler", optuna.samplers.TPESampler, "sample_independent"),
    ("sampler", optuna.samplers.TPESampler, "after_trial"),
    ("trial: suggest", OptunaStudySearcher, "suggest"),
    ("trial: end", OptunaStudySearcher, "on_trial_complete"),
    ("report: searcher", OptunaStudySearcher, "on_trial_result"),
    ("report: scheduler", StudyScheduler, "on_trial_result"),
    ("trial: observer", StudyObserver, "_update"),
    ("trial: screen", StudyObserver, "_show"),
    ("trial: results", ResultReader, "read"),
    ("trial: MLflow", Tracker, "sync"),
)
"""The timed parts: name, and the function of a class or module that does the work."""


@contextmanager
def watched(stopwatch: Stopwatch) -> Iterator[None]:
    """Time the parts of the driver."""
    with ExitStack() as stack:
        for name, owner, function in PARTS:
            timed = stopwatch.timed(name, getattr(owner, function))
            stack.enter_context(mock.patch.object(owner, function, timed))
        yield


@dataclass
class Progress:
    """The stopwatch's readings, the processor time and the memory after each trial's end."""

    stopwatch: Stopwatch
    rows: list[dict[str, float]] = field(default_factory=list)

    def note(self) -> None:
        """Take a reading."""
        process = psutil.Process()
        self.rows.append(
            {
                **self.stopwatch.wall,
                "reports": self.stopwatch.calls["report: scheduler"],
                "processor": time.process_time(),
                "clock": time.perf_counter(),
                "memory_mib": process.memory_info().rss / 2**20,
                "descriptors": process.num_fds(),
                "threads": process.num_threads(),
                "processes": len(process.children(recursive=True)),
            }
        )

    def seconds(self, kind: str, first: int, last: int) -> float:
        """Return the seconds that the parts of a kind took between two trials' ends."""
        start, end = self.rows[first], self.rows[last]
        return sum(end[name] - start.get(name, 0.0) for name in end if name.startswith(kind))

    def count(self, name: str, first: int, last: int) -> float:
        """Return by how much a reading grew between two trials' ends."""
        return self.rows[last][name] - self.rows[first][name]


def left_behind() -> dict[str, int]:
    """Count what a study could leave on the machine: processes, descriptors, Ray's folders.

    Those of other programs on the machine count too.
    """
    process = psutil.Process()
    return {
        "processes": len(process.children(recursive=True)),
        "descriptors": process.num_fds(),
        "session folders of Ray": len(list(default_folder().glob("session_2*"))),
    }
