"""A trial's life, as Optuna's study stores it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial

# Names of the attributes of Optuna's trials.
BASELINE, VALUES, RUNGS, DRIVER = "baseline", "values", "rungs", "driver"


AUDITED_AT, STOPPED_AT, PARENT, REPLACES = "audited_at", "stopped_at", "parent", "replaces"


MESSAGE, FAILURE = "message", "failure"


@dataclass(frozen=True)
class RungScore:
    """The score of one trial at one rung."""

    values: tuple[float, ...]
    """The objectives."""
    num_samples: int
    scores: Mapping[str, float] = field(default_factory=dict)
    """What constraints are about, by name."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        row = {"values": list(self.values), "num_samples": self.num_samples}
        return row | ({"scores": dict(self.scores)} if self.scores else {})

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "RungScore":
        """Build from `to_dict`'s result."""
        return cls(tuple(row["values"]), row["num_samples"], row.get("scores", {}))


def rung_scores(trial: FrozenTrial) -> dict[int, RungScore]:
    """Return a trial's scores by images seen."""
    rows = trial.user_attrs.get(RUNGS, {})
    return {int(images): RungScore.from_dict(row) for images, row in rows.items()}


def rungs_reached(trial: FrozenTrial) -> set[int]:
    """Return the images seen at which a trial was scored."""
    return {int(images) for images in trial.user_attrs.get(RUNGS, {})}
