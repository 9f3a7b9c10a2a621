"""A trial's life: its states, what moves it between them, and how Optuna's study stores it.

    begin                       final score
    (asked) ------> RUNNING ------------------------> COMPLETE
                     |  ^  |
           Stopped   |  |  |  the stopping rule ends it at a rung
     (node, signal,  |  |  +------------------------> PRUNED
       budget, kill) v  |
                  unfinished, and nobody's
                     |
                     |  Failed, a score that is not finite, or a worker
                     |  that was lost more often than max_failures allows
                     +------------------------------> FAIL

RUNNING is the only state that a trial leaves. A trial that was stopped, or whose driver is gone,
stays RUNNING in Optuna's study: whoever comes next hands it out again under its own number, and
it goes on from its newest checkpoint (`diffrop.search.ownership` says whose it is). Within one
launch the searcher also remembers trials that cool down after a stop, and trials that returned
without a report. Trial 0 is the baseline, which no rule stops.

A worker reports what happened to its trial as one of `RungReached`, `Failed` and `Stopped`; as
Tune passes dictionaries on, `to_result` and `read_report` stand at its two ends.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial

IS_BASELINE = "baseline"
"""Names of the attributes of Optuna's trials, from here on. This one: whether it is trial 0."""
VALUES = "values"
"""The searched keys with their values, {} for none."""
RUNGS = "rungs"
"""The score at each rung, by images seen."""
DRIVER = "driver"
"""Who runs it, or ran it last."""
AUDITED_AT = "audited_at"
"""Images at which the rule would have stopped it, had it not been drawn for the audit."""
STOPPED_AT = "stopped_at"
"""Images at which the rule stopped it."""
FROM_PRIOR = "from_prior"
"""Whether it took the values near the priors of the space."""
PARENT = "parent"
"""{"trial", "images"} of the checkpoint that it goes on from, in population-based training."""
REPLACES = "replaces"
"""The number of the stopped trial whose place it takes."""
MESSAGE = "message"
"""What a reader should know of its end."""
FAILURE = "failure"
"""Whether it failed by its own doing, so that the search sampler keeps away from its point."""


@dataclass(frozen=True, kw_only=True)
class RungReached:
    """The trial was trained to a rung and, unless nobody scores it, scored there."""

    images_seen: int
    final: bool
    values: tuple[float, ...] | None = None
    """The objectives at the best sampling choice; None for a training that is not scored."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Every score at that choice, by name."""
    omega: float | None = None
    training_key: str = ""

    @property
    def finite_values(self) -> tuple[float, ...] | None:
        """The objectives; None if they are unknown or one is not finite."""
        known = self.values is not None and all(map(math.isfinite, self.values))
        return self.values if known else None


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The trial failed in a way that a restart would repeat."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """The trial stopped before its end, with a checkpoint to go on from."""

    outage: str = ""
    """What was away for too long, room on a disk; empty if it was asked to stop."""


TrialReport = RungReached | Failed | Stopped


def to_result(report: TrialReport) -> dict[str, Any]:
    """Return a report as the dictionary that Tune passes on; scores stand in it by their names."""
    match report:
        case Failed():
            return {"failure": report.message}
        case Stopped():
            return {"stopped": True} | ({"outage": report.outage} if report.outage else {})
    found: dict[str, Any] = {"images_seen": report.images_seen, "final": report.final}
    if report.values is not None:
        found |= {"score": report.values[0], "values": list(report.values)}
        found |= {"omega": report.omega, "training_key": report.training_key}
    return found | dict(report.scores)


def read_report(result: Mapping[str, Any] | None) -> TrialReport | None:
    """Return the report that a result of Tune's holds; None if nothing was reported yet."""
    if not result:
        return None
    if "failure" in result:
        return Failed(message=str(result["failure"]))
    if "stopped" in result:
        return Stopped(outage=str(result.get("outage", "")))
    if "images_seen" not in result:
        return None
    values = result.get("values", [result["score"]] if "score" in result else None)
    return RungReached(
        images_seen=result["images_seen"],
        final=bool(result.get("final", False)),
        values=None if values is None else tuple(float(value) for value in values),
        scores={name: value for name, value in result.items() if "/" in name},
        omega=result.get("omega"),
        training_key=str(result.get("training_key", "")),
    )


@dataclass(frozen=True)
class RungScore:
    """The score of one trial at one rung, as Optuna's study stores it."""

    values: tuple[float, ...]
    """The objectives; lower is better."""
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
