"""What a launch may still spend: its budget, and what the study has cost by now."""

import time
from dataclasses import dataclass

from diffrop.execution.placement import units_per_trial
from diffrop.record.result_reader import ResultReader
from diffrop.study.config import LaunchConfig


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a launch may use; None is without limit."""

    hours: float | None = None
    wall_s: float | None = None
    unit: str = "GPU-hours"

    @classmethod
    def of(cls, launch: LaunchConfig) -> "Budget":
        """Return the budget of a launch."""
        return cls(
            hours=launch.budget_gpu_hours,
            wall_s=launch.budget_wall_s,
            unit="GPU-hours" if launch.gpus_per_worker else "worker-hours",
        )

    @property
    def bounded(self) -> bool:
        """Whether there is any limit."""
        return self.hours is not None or self.wall_s is not None

    def refusal(self, hours: float, wall_s: float) -> str:
        """Return in one sentence why nothing more may begin; empty if it may.

        What has begun goes on to its end, whatever the limits.

        Args:
            hours: spent, of GPUs, or of workers where there is no GPU.
            wall_s: spent, in seconds.
        """
        for limit, used, unit in (
            (self.hours, hours, self.unit),
            (self.wall_s, wall_s, "seconds"),
        ):
            if limit is not None and used >= limit:
                return f"the budget of {limit:.6g} {unit} has {used:.4g} spent"
        return ""

    def spent(self, hours: float, wall_s: float) -> float:
        """Return the share that is spent of the limit that is nearer; 0 without one."""
        limits = ((self.hours, hours), (self.wall_s, wall_s))
        return max((used / limit for limit, used in limits if limit is not None), default=0.0)


class BudgetTracker:
    """Compares what a study has cost, over all its launches, with the budget of this one."""

    def __init__(self, launch: LaunchConfig, reader: ResultReader) -> None:
        """Begin to count this launch's wall clock.

        Args:
            launch: its budget.
            reader: of the study's results, whose cost account is used.
        """
        self._budget, self._reader = Budget.of(launch), reader
        self._units = units_per_trial(launch)
        self._since, self._launched = time.monotonic(), time.time()

    def refusal(self) -> str:
        """Return in one sentence why nothing more may begin; empty if it may."""
        if not self._budget.bounded:
            return ""
        return self._budget.refusal(self.hours(), time.monotonic() - self._since)

    def spent(self) -> float:
        """Return the share of the budget that is spent; 0 without one."""
        if not self._budget.bounded:
            return 0.0
        return self._budget.spent(self.hours(), time.monotonic() - self._since)

    def hours(self) -> float:
        """Return the hours spent, of GPUs or of workers, with what running trials have used.

        A trial writes down what it used at each checkpoint and score; since then it holds its
        workers, but not since before this launch: between two launches nothing runs.
        """
        now, unwritten_s = time.time(), 0.0
        for trial in self._reader.read().trials:
            if trial.state == "RUNNING":
                began = max(now - trial.duration_s, self._launched)
                unwritten_s += max(0.0, now - max(began, self._reader.last_cost(trial)))
        self._reader.account.add_retrainings()
        return self._reader.account.hours + unwritten_s * self._units / 3600
