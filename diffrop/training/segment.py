"""What a part of a training took: one line of the training's cost.jsonl."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingSegment:
    """A part of a training that was trained in one go, and what it took."""

    begin: int
    """Images seen before it."""
    end: int
    """Images seen after it."""
    seconds: float
    """Wall clock, writing checkpoints included."""
    workers: int
    gpus: float
    """Number of GPUs over all workers; 0 without GPUs."""
    time: float
    """When it ended, in seconds since 1970."""

    @property
    def units(self) -> float:
        """Number of GPUs, or of workers where there are no GPUs."""
        return self.gpus or self.workers

    def to_row(self) -> dict[str, Any]:
        """Return the line as plain data, with `begin` and `end` under "from" and "to"."""
        values = asdict(self)
        return {"from": values.pop("begin"), "to": values.pop("end"), **values}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "TrainingSegment":
        """Build from `to_row`'s result."""
        values = dict(row)
        return cls(begin=values.pop("from"), end=values.pop("to"), **values)
