"""What each file of a study is worth, and what is done where one is damaged: one rule for all.

- Precious: nothing else says it. Where it is damaged, one sentence names it and what to do.
- Recorded: it tells of what is over. What can be read is kept; one warning names what is lost.
- Derived: it can be made again. Where it is damaged it counts as missing, with one warning; the
  next launch sets it aside as NAME.damaged and makes it again.

Whatever a folder holds beside these files is passed over.
"""

import enum
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from diffrop.errors import CheckpointError, StudyError
from diffrop.record.names import TRAINING_LINK
from diffrop.storage import set_aside

Stored = TypeVar("Stored")


class Kind(enum.Enum):
    """What a file is worth."""

    PRECIOUS = "precious"
    RECORDED = "recorded"
    DERIVED = "derived"


@dataclass(frozen=True)
class StoredFile:
    """A kind of file, by the end of its path."""

    pattern: str
    kind: Kind
    damaged: str
    """What to do where it is damaged and precious; else what becomes of it."""


RESTORE = "restore it from a copy"
RESUMED = "the next launch with --resume makes it again"
FILES = (
    # In the study's folder.
    StoredFile("study.yaml", Kind.PRECIOUS, RESTORE),
    StoredFile("study.db", Kind.PRECIOUS, RESTORE),
    StoredFile(
        "confirm.json",
        Kind.PRECIOUS,
        "restore it from a copy, or remove it: the next launch with --resume takes it from the "
        "study's database",
    ),
    StoredFile(
        "identity.json", Kind.DERIVED, "MLflow gets runs of its own for what this study holds"
    ),
    StoredFile("plan.json", Kind.DERIVED, "the next launch takes it from the study's database"),
    StoredFile("fidelity.json", Kind.DERIVED, RESUMED),
    StoredFile("anchors.json", Kind.DERIVED, RESUMED),
    StoredFile("best.yaml", Kind.DERIVED, RESUMED),
    StoredFile("trials.csv", Kind.DERIVED, RESUMED),
    StoredFile("front.csv", Kind.DERIVED, RESUMED),
    StoredFile("warm_start.json", Kind.RECORDED, "what earlier studies taught is not shown"),
    StoredFile("launches.jsonl", Kind.RECORDED, "what those launches ran on is not known"),
    StoredFile("changes*.diff", Kind.RECORDED, "the code that the study ran with is not known"),
    StoredFile("preparing/*", Kind.RECORDED, "what a study that prepares is doing is not shown"),
    StoredFile("artifacts/*", Kind.DERIVED, RESUMED),
    # In the folder of a trial or retraining.
    StoredFile("scores/images_*.json", Kind.DERIVED, "the checkpoint is to be scored again"),
    StoredFile("scores/images_*.safetensors", Kind.DERIVED, "differences to it are not known"),
    StoredFile("failure.json", Kind.DERIVED, "the training is to be tried again"),
    StoredFile("training.key", Kind.DERIVED, "the trial's link to its training counts"),
    StoredFile("scoring.json", Kind.RECORDED, "how far the score is is not shown"),
    StoredFile("trial.log", Kind.RECORDED, "its messages are lost"),
    # In the folder of a row of the paper's tables.
    StoredFile("classifier.json", Kind.DERIVED, RESUMED),
    # In the folder of a training.
    StoredFile("training.json", Kind.DERIVED, "from where the training forks is not known"),
    StoredFile("metrics.jsonl", Kind.RECORDED, "that part of the curves is lost"),
    StoredFile("cost.jsonl", Kind.RECORDED, "that part of the cost is not counted"),
    StoredFile(
        "averages/images_*.safetensors",
        Kind.RECORDED,
        "lengths of averages that were not kept are reconstructed without it",
    ),
    StoredFile("images_*.safetensors", Kind.PRECIOUS, RESTORE),
)
SCORE_WITHOUT_WEIGHTS = StoredFile(
    "scores/images_*", Kind.RECORDED, "its checkpoint is gone, so that it is lost"
)
UNKNOWN = StoredFile("*", Kind.PRECIOUS, RESTORE)
DAMAGED = (ValueError, OSError, CheckpointError)
"""What reading a damaged file raises."""


def file_of(path: Path) -> StoredFile:
    """Return what a file is. Scores can be made again for as long as their checkpoint is there."""
    found = next((stored for stored in FILES if path.match(stored.pattern)), UNKNOWN)
    if found.pattern.startswith("scores/"):
        weights = path.parents[1] / TRAINING_LINK / f"{path.stem}.safetensors"
        return found if weights.exists() else SCORE_WITHOUT_WEIGHTS
    return found


def read_stored(path: Path, read: Callable[[Path], Stored]) -> Stored | None:
    """Read a file as its kind asks.

    Args:
        path: the file.
        read: raises one of `DAMAGED` where the file does not hold what it should.

    Returns:
        None without the file, and after a warning where it is damaged and not precious.

    Raises:
        StudyError: it is precious, and damaged.
        NewerFormatError: a later version wrote it.
    """
    if not os.path.lexists(path):
        return None
    try:
        return read(path)
    except DAMAGED as error:
        stored = file_of(path)
        if stored.kind is Kind.PRECIOUS:
            raise StudyError(f"{_cause(path, error)}. To fix: {stored.damaged}") from error
        name_damage(path, error)
    return None


def name_damage(path: Path, cause: object) -> None:
    """Warn of a file that is damaged and not precious; a process says each sentence once."""
    warnings.warn(f"{_cause(path, cause)}; {file_of(path).damaged}", stacklevel=1)


def set_damaged_aside(path: Path, read: Callable[[Path], object]) -> bool:
    """Give way to a derived file that is made again, where the present one is damaged.

    Returns:
        whether it was; a warning says so.

    Raises:
        NewerFormatError: a later version wrote it.
    """
    if not os.path.lexists(path) or file_of(path).kind is not Kind.DERIVED:
        return False
    try:
        read(path)
    except DAMAGED as error:
        then = f"it is set aside as {set_aside(path).name}; {file_of(path).damaged}"
        warnings.warn(f"{_cause(path, error)}; {then}", stacklevel=1)
        return True
    return False


def _cause(path: Path, cause: object) -> str:
    text = " ".join(str(cause).split())
    return text if str(path) in text else f"{path} is damaged ({text})"
