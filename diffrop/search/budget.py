"""What a study has cost so far, and whether its budget lets anything more begin."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffrop.search.config import LaunchConfig, StudyConfig

TRAINING = "training"
"""Of a trial's folder: the link to its training in the store."""


def units_per_trial(launch: LaunchConfig) -> float:
    """Return what a trial holds of what the budget counts: GPUs, or workers without GPUs."""
    workers = launch.workers_per_trial
    return workers * launch.gpus_per_worker or float(workers)


def training_folder(trial: Path) -> Path:
    """Return where a trial's training lies: in the store, or in the trial's own folder."""
    linked = trial / TRAINING
    return linked.resolve() if linked.exists() else trial


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What was used; hours are of GPUs, or of workers where there is no GPU."""

    hours: float = 0.0
    wall_s: float = 0.0
    num_trials: int = 0


NOTHING = Spending()


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a launch may use; None is without limit."""

    hours: float | None = None
    wall_s: float | None = None
    num_trials: int | None = None
    unit: str = "GPU-hours"

    @classmethod
    def of(cls, config: StudyConfig, launch: LaunchConfig) -> "Budget":
        """Return the budget of a launch."""
        return cls(
            hours=launch.budget_gpu_hours,
            wall_s=launch.budget_wall_s,
            num_trials=config.num_trials,
            unit="GPU-hours" if launch.gpus_per_worker else "worker-hours",
        )

    def refusal(self, spent: Spending, ahead: Spending = NOTHING) -> str:
        """Return in one sentence why nothing more may begin; empty if it may.

        A limit holds what has begun back from nothing: it goes on to its end.

        Args:
            spent: so far.
            ahead: what must fit in as well, such as a whole seed of a confirmation.
        """
        for limit, used, more, unit in (
            (self.hours, spent.hours, ahead.hours, self.unit),
            (self.wall_s, spent.wall_s, ahead.wall_s, "seconds"),
            (self.num_trials, spent.num_trials, ahead.num_trials, "trials"),
        ):
            if limit is not None and (used >= limit or used + more > limit):
                coming = f", and {more:.4g} more would be needed" if used < limit else ""
                return f"the budget of {limit:.6g} {unit} has {used:.4g} spent{coming}"
        return ""


@dataclass(frozen=True)
class Stretch:
    """A part of a training that was trained in one go."""

    training: str
    begin: int
    end: int
    seconds: float
    units: float
    """GPUs, or workers without GPUs."""
    time: float
    """When it ended."""


def stretches(training: Path, until: float = float("inf")) -> Iterator[Stretch]:
    """Yield what was trained of a training, and before it of those it forks from.

    Args:
        training: its folder in the store.
        until: images up to which it counts.
    """
    for row in json_lines(training / "cost.jsonl"):
        if row["to"] <= until:
            units = row["gpus"] or row["workers"]
            seconds, ended = row["seconds"], row["time"]
            yield Stretch(training.name, row["from"], row["to"], seconds, units, ended)
    parent = _parent(training)
    if parent is not None:
        key, _, images = parent.rpartition("-")
        yield from stretches(training.parent / key, float(images))


def _parent(training: Path) -> str | None:
    """Return the key of the checkpoint that a training forks from, TRAINING-IMAGES."""
    try:
        identity = json.loads((training / "training.json").read_text("utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    parent = identity.get("parent")
    return parent if isinstance(parent, str) else None


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of JSON lines; a killed writer leaves a torn one."""
    if path.exists():
        for line in path.read_text("utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(row, dict):
                yield row


@dataclass(frozen=True)
class Scoring:
    """What one score took."""

    images: int
    seconds: float
    samples: int
    time: float


def scorings(trial: Path) -> Iterator[Scoring]:
    """Yield what each score in a trial's folder took; damaged files are passed over."""
    for path in sorted((trial / "scores").glob("images_*.json")):
        try:
            card = json.loads(path.read_text("utf-8"))
        except (OSError, json.JSONDecodeError):
            continue
        seconds = card.get("seconds") or {}
        drawn = card.get("samples_drawn") or 0
        yield Scoring(card["images_seen"], sum(seconds.values()), drawn, card["time"])


@dataclass
class Ledger:
    """What a study's trials and confirmations cost; what several share counts once.

    Trials that have ended are read once, so that asking costs little in a long study.
    """

    units: float
    """GPUs, or workers, that score a trial."""
    since: float = 0.0
    """Trainings of the store that ended before, in other studies, are free."""
    _trained: dict[Stretch, float] = field(default_factory=dict)
    _scored: dict[Path, float] = field(default_factory=dict)

    def settle(self, trial: Path) -> None:
        """Count a trial or a confirmation's point that has ended."""
        self._read(trial)

    def spending(
        self, running: Mapping[Path, float] | None = None, now: float | None = None
    ) -> float:
        """Return the hours spent.

        Args:
            running: folders of what runs, each with the time at which it began.
            now: the time; None looks at the clock.
        """
        now = time.time() if now is None else now
        unwritten = 0.0
        for trial, began in (running or {}).items():
            last = max(began, self._read(trial))
            unwritten += max(0.0, now - last) * self.units
        known = sum(self._trained.values()) + sum(self._scored.values()) * self.units
        return (known + unwritten) / 3600

    def _read(self, trial: Path) -> float:
        """Count what is written down of a trial; return when the last of it ended."""
        last = 0.0
        for stretch in stretches(training_folder(trial)):
            if stretch.time >= self.since:
                self._trained[stretch] = stretch.seconds * stretch.units
                last = max(last, stretch.time)
        found = list(scorings(trial))
        self._scored[trial] = sum(scoring.seconds for scoring in found)
        return max([last, *(scoring.time for scoring in found)])
