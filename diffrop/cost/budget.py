"""What a study has cost so far, and whether its budget lets anything more begin."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.training.segment import TrainingSegment
from diffrop.training.store import TrainingFolder

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


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a launch may use; None is without limit."""

    hours: float | None = None
    wall_s: float | None = None
    unit: str = "GPU-hours"

    @classmethod
    def of(cls, config: StudyConfig, launch: LaunchConfig) -> "Budget":
        """Return the budget of a launch."""
        return cls(
            hours=launch.budget_gpu_hours,
            wall_s=launch.budget_wall_s,
            unit="GPU-hours" if launch.gpus_per_worker else "worker-hours",
        )

    def refusal(self, spent: Spending) -> str:
        """Return in one sentence why nothing more may begin; empty if it may.

        A limit holds what has begun back from nothing: it goes on to its end.
        """
        for limit, used, unit in (
            (self.hours, spent.hours, self.unit),
            (self.wall_s, spent.wall_s, "seconds"),
        ):
            if limit is not None and used >= limit:
                return f"the budget of {limit:.6g} {unit} has {used:.4g} spent"
        return ""


def stretches(
    training: Path, until: float = float("inf")
) -> Iterator[tuple[str, TrainingSegment]]:
    """Yield what was trained of a training, and before it of those it forks from, with the keys.

    Args:
        training: its folder in the store.
        until: images up to which it counts.
    """
    folder = TrainingFolder(training)
    for stretch in folder.segments():
        if stretch.end <= until:
            yield folder.key, stretch
    parent = folder.parent()
    if parent is not None:
        key, images = parent
        yield from stretches(training.parent / key, images)


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
class CostAccount:
    """What a study's trials and confirmations cost; what several share counts once.

    Trials that have ended are read once, so that asking costs little in a long study.
    """

    units: float
    """GPUs, or workers, that score a trial."""
    since: float = 0.0
    """Trainings of the store that ended before, in other studies, are free."""
    _trained: dict[tuple[str, TrainingSegment], float] = field(default_factory=dict)
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
        for key, stretch in stretches(training_folder(trial)):
            if stretch.time >= self.since:
                self._trained[key, stretch] = stretch.seconds * stretch.units
                last = max(last, stretch.time)
        found = list(scorings(trial))
        self._scored[trial] = sum(scoring.seconds for scoring in found)
        return max([last, *(scoring.time for scoring in found)])
