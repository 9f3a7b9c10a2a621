"""What a launch has left of its budget."""

import time
from pathlib import Path

from diffrop.cost.budget import Budget, CostAccount, Spending, units_per_trial
from diffrop.record.results import ResultReader
from diffrop.record.study_files import PLAN, read_record
from diffrop.record.study_store import StudyStore
from diffrop.study.config import LaunchConfig, StudyConfig


class BudgetTracker:
    """Counts what a study has cost, over all its launches, against the budget of this one."""

    def __init__(
        self, config: StudyConfig, launch: LaunchConfig, store: StudyStore, reader: ResultReader
    ) -> None:
        """Begin to count this launch's wall clock."""
        self._budget = Budget(
            hours=launch.budget_gpu_hours,
            wall_s=launch.budget_wall_s,
            unit=Budget.of(config, launch).unit,
        )
        self._bounded = self._budget.hours is not None or self._budget.wall_s is not None
        self._reader, self._store = reader, store
        self._since, self._launched = time.monotonic(), time.time()
        # What an earlier study trained was paid for by that one.
        began = read_record(store.path, PLAN).get("began", time.time())
        self._ledger = CostAccount(units_per_trial(launch), began)
        self._settled: set[Path] = set()

    def refusal(self) -> str:
        """Return in one sentence why nothing more may begin; empty if it may."""
        if not self._bounded:
            return ""
        wall_s = time.monotonic() - self._since
        return self._budget.refusal(Spending(hours=self._hours(), wall_s=wall_s))

    def _hours(self) -> float:
        now = time.time()
        running = {}
        for trial in self._reader.read().trials:
            if trial.state == "RUNNING":
                # Between two launches nothing runs, and nothing is paid for.
                running[trial.directory] = max(now - trial.duration_s, self._launched)
            elif trial.directory not in self._settled:
                self._settled.add(trial.directory)
                self._ledger.settle(trial.directory)
        for folder in (*self._store.path.glob("confirm/*"), *self._store.path.glob("prefix/*")):
            self._ledger.settle(folder)
        return self._ledger.spending(running, now)
