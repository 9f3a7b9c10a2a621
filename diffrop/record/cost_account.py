"""The cost account of a study: what each training and each score took, every one counted once.

Whoever needs a cost sums entries of this account: the budget, the comparison with the plan, the
report, MLflow and the status. What counts:

- A segment of training belongs to the study that trained it. A training that several trials
  share, such as what lies before a fork, is counted at the first of them; one that an earlier
  study left in the store is free.
- A segment of a training that failed, or that was lost and trained again, was paid for.
- A score costs the hardware of the trial that it is of.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from diffrop.record.names import parse_label
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trainings import TrainingSegment
from diffrop.record.trial_folder import TrialFolder

Kind = Literal["prefix", "trial", "retraining"]
Part = Literal["training", "sampling", "features", "metrics"]
SCORING_PARTS: tuple[Part, ...] = ("sampling", "features", "metrics")


@dataclass(frozen=True, kw_only=True)
class CostEntry:
    """What one segment of a training, or one part of a score, took."""

    kind: Kind
    """Whose it is: of what trials fork from, of a trial, or of a retraining with a fresh seed."""
    number: int | None
    """The trial's; None for what trials fork from, and for a training outside any study."""
    seed: int | None = None
    """Which of the fresh seeds, for a retraining."""
    part: Part
    seconds: float
    """Wall clock of the trial's workers, which work side by side."""
    workers: int
    gpus: float
    """Over all workers."""
    images_seen: int
    """Images seen where the segment ended, or at which the score is."""
    images: int = 0
    """Trained in the segment."""
    samples: int = 0
    """Drawn for the score; they stand at its first part, sampling."""
    time: float
    """When it ended, in seconds since 1970."""

    @property
    def units(self) -> float:
        """GPUs, or workers where there is no GPU."""
        return self.gpus or self.workers

    @property
    def unit_s(self) -> float:
        """Seconds times GPUs, or times workers where there is no GPU."""
        return self.seconds * self.units


@dataclass
class CostAccount:
    """All that a study has cost so far.

    A folder that is added again is read anew, and replaces what was known of it; what trials
    share stays where it was counted first.
    """

    study: StudyFolder
    since: float = 0.0
    """When the study began, in seconds since 1970: what the store holds from before is free."""
    _owners: dict[tuple[str, TrainingSegment], Path] = field(default_factory=dict)
    """The folder at which each segment is counted, by the key of its training."""
    _entries: dict[Path, list[CostEntry]] = field(default_factory=dict)
    """By folder."""

    @classmethod
    def of(cls, study: StudyFolder, since: float, fork_images: int = 0) -> "CostAccount":
        """Return the account of everything that lies in a study's folder.

        Args:
            study: its folder.
            since: when it began, in seconds since 1970.
            fork_images: images at which its trials fork; 0 if they do not.
        """
        account = cls(study, since)
        account.add_prefixes(fork_images)
        for folder in study.trials():
            account.add(folder, "trial")
        account.add_retrainings()
        return account

    def add_prefixes(self, fork_images: int) -> None:
        """Count what trials fork from, before the trials, of which a baseline may go on with it.

        Args:
            fork_images: images at which trials fork; 0 counts all.
        """
        for folder in self.study.prefixes():
            self.add(folder, "prefix", until=fork_images or float("inf"))

    def add_retrainings(self) -> None:
        """Count the trainings that confirm leaders, after the trials."""
        for folder in self.study.retrainings():
            self.add(folder, "retraining")

    def add(self, folder: TrialFolder, kind: Kind, until: float = float("inf")) -> None:
        """Count what is written down of a trial, up to some images."""
        number, seed = parse_label(folder.path.name) or (None, None)
        entries: list[CostEntry] = []
        workers, gpus = 1, 0.0
        training = folder.training(self.study.store)
        for key, segment in training.all_segments(until):
            if key == training.key:
                workers, gpus = segment.workers, segment.gpus
            mine = self._paid_here(segment)
            if mine and self._owners.setdefault((key, segment), folder.path) == folder.path:
                entries.append(
                    CostEntry(
                        kind=kind,
                        number=number,
                        seed=seed,
                        part="training",
                        seconds=segment.seconds,
                        workers=segment.workers,
                        gpus=segment.gpus,
                        images_seen=segment.end,
                        images=segment.end - segment.begin,
                        time=segment.time,
                    )
                )
        # The workers of a score stand in the training's file alone.
        lost = os.path.lexists(training.costs_path) and not training.segments()
        entries += [
            CostEntry(
                kind=kind,
                number=number,
                seed=seed,
                part=part,
                seconds=card.seconds.get(part, 0.0),
                workers=workers,
                gpus=gpus,
                images_seen=card.images_seen,
                samples=card.samples_drawn if part == "sampling" else 0,
                time=card.time,
            )
            for card in ([] if lost else folder.scores())
            for part in SCORING_PARTS
        ]
        self._entries[folder.path] = entries

    def _paid_here(self, segment: TrainingSegment) -> bool:
        return segment.time >= self.since and segment.study in ("", self.study.path.name)

    def entries(self) -> list[CostEntry]:
        """Return everything that was counted."""
        return [entry for entries in self._entries.values() for entry in entries]

    def of_folder(self, folder: TrialFolder) -> list[CostEntry]:
        """Return what was counted at a folder."""
        return self._entries.get(folder.path, [])

    @property
    def hours(self) -> float:
        """Hours of GPUs, or of workers where there is no GPU."""
        return unit_hours(self.entries())


def unit_hours(entries: Iterable[CostEntry]) -> float:
    """Return the hours of GPUs, or of workers where there is no GPU."""
    return sum(entry.unit_s for entry in entries) / 3600
