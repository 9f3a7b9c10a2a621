"""A trial as MLflow shows it: what it says itself, and what its files say of it."""

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Metric

from diffrop.record.cost_account import CostEntry
from diffrop.record.names import images_of, trial_label
from diffrop.record.score_card import ScoreCard, read_score
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trainings import StoredTraining
from diffrop.record.trial_folder import TrialFolder
from diffrop.schema import require
from diffrop.tracking.metrics import cost_metrics, curve_metrics, score_metrics
from diffrop.tracking.notes import trial_note

STATUSES = {"RUNNING": "RUNNING", "COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
"""MLflow's run status for each state of a trial."""
Stamp = tuple[str, int, int]
"""Name, size and time of a file."""


@dataclass(frozen=True)
class LoggedState:
    """What has been logged of a trial, so that a later look takes up only what is new."""

    images_seen: int = 0
    """Up to which rows of the curves were logged."""
    num_costs: int = 0
    """Segments and scores whose costs were logged."""
    files: frozenset[Stamp] = frozenset()
    """Each score file and sample grid."""
    started_ms: int | None = None
    """Time of the first row of the curves; None before there is one."""
    ended_ms: int | None = None
    """Time of the last row."""


@dataclass(frozen=True, kw_only=True)
class TrackedTrial:
    """A trial as it stands now; its curves, scores and images are read from its folder.

    A `TrialResult` also holds what is not logged, such as the rank, which changes with every other
    trial. Two of these are equal where nothing else is to be logged than what the files say.
    """

    number: int
    name: str
    """Name of its run: "t007 reciprocal tau_0=3.2"."""
    folder: TrialFolder
    state: str
    """A key of `STATUSES`."""
    params: Mapping[str, Any]
    """Dotted configuration keys; MLflow keeps the values that it is given first."""
    tags: Mapping[str, str]
    """Such as form, feasible, front, parent (t003@10240) and audited_at."""
    message: str = ""
    """Why it failed, or at which rung it was pruned."""
    seed: int | None = None
    """Fresh seed of a retraining that confirms the trial; None is the trial itself."""
    costs: tuple[CostEntry, ...] = ()
    """What the study's cost account counts at it."""
    log_every_images: int | None = None
    """The study's interval between rows of the curves; see `StoredTraining.curves`."""
    until: float = math.inf
    """Images seen up to which the training is this trial's; the store may hold more of it."""

    def __post_init__(self) -> None:
        """Refuse unknown states."""
        require(self.state in STATUSES, "state", self.state, ", ".join(STATUSES))

    @property
    def label(self) -> str:
        """Its short name: t007, or t007-s1 for the retraining with seed 1."""
        return trial_label(self.number, self.seed)

    @property
    def ended(self) -> bool:
        """Whether it trains no more."""
        return self.state != "RUNNING"

    @property
    def training(self) -> StoredTraining:
        """Where its curves, costs and checkpoints lie."""
        return self.folder.training()

    @property
    def study(self) -> StudyFolder:
        """The study whose trial or retraining it is."""
        return StudyFolder(self.folder.path.parents[1])

    def mark(self) -> str:
        """Return a digest of what it says itself, and of its files' names, sizes and times."""
        training = self.training
        files = [training.curves_path, training.costs_path, *training.checkpoints()]
        files += [*self.folder.score_files(), *self.folder.grids()]
        return hashlib.sha256(repr([self, *map(stamp, files)]).encode()).hexdigest()

    def new_curves(self, before: LoggedState) -> tuple[list[Metric], LoggedState]:
        """Return what its curves and costs say beyond what was logged `before`."""
        rows = self.training.curves(self.log_every_images, self.until)
        rows = [row for row in rows if type(row.get("time")) in (int, float)]
        new = [row for row in rows if row["images_seen"] > before.images_seen]
        costs = cost_metrics(self.costs)
        after = dataclasses.replace(
            before,
            images_seen=max([before.images_seen, *(row["images_seen"] for row in new)]),
            num_costs=len(costs),
            started_ms=round(min(row["time"] for row in rows) * 1000) if rows else None,
            ended_ms=round(max(row["time"] for row in rows) * 1000) if rows else None,
        )
        found = [*map(curve_metrics, new), *costs[before.num_costs :]]
        return [metric for metrics in found for metric in metrics], after

    def new_scores(self, before: LoggedState) -> tuple[list[Metric], LoggedState]:
        """Return what its score files say beyond what was logged `before`.

        Raises:
            ValueError: one is damaged, or not written to its end yet.
        """
        new = [path for path in self.folder.score_files() if stamp(path) not in before.files]
        metrics = [metric for path in new for metric in score_metrics(read_score(path))]
        files = before.files | {stamp(path) for path in new}
        return metrics, dataclasses.replace(before, files=files)

    def newest_score(self) -> ScoreCard | None:
        """Return its newest score, None without any; ValueError if it is damaged."""
        return next((read_score(path) for path in reversed(self.folder.score_files())), None)

    def note(self, card: ScoreCard | None) -> str:
        """Return its description in Markdown, with what its newest score says."""
        return trial_note(self.state, self.message, card, self.lineage())

    def checkpoint(self) -> Path | None:
        """Return the checkpoint that its last score is of, else its newest; None without any."""
        found = self.training.checkpoints()
        scores = {images_of(path) for path in self.folder.score_files()}
        scored = [path for path in found if images_of(path) in scores]
        return next(iter((scored or found)[-1:]), None)

    def lineage(self) -> dict[str, str]:
        """Return which training of the store it has, and which checkpoint that started from."""
        known = {}
        if key := self.folder.training_key():
            known["training"] = key
        if parent := self.training.parent():
            known["from checkpoint"] = "{}-{}".format(*parent)
        return known


def stamp(path: Path) -> Stamp:
    """Return name, size and time of a file; zeros where it is not there, or removed just now."""
    try:
        status = path.stat()
    except OSError:
        return path.name, 0, 0
    return path.name, status.st_size, status.st_mtime_ns
