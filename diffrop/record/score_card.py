"""The scores of one checkpoint, as they are stored."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from diffrop.metrics.protocol import Protocol


@dataclass(frozen=True)
class ScoreCard:
    """The scores of one checkpoint at its own best sampling choice, and how it was found."""

    images_seen: int
    time: float
    objectives: list[str]
    values: list[float]
    """The objectives at the choice, which serves every score of the checkpoint."""
    omega: float
    sampler: str
    """Of the choice: sampler, steps and average of the weights."""
    extractor: str
    reference: str
    """Which real images the samples are compared with."""
    num_samples: dict[str, int]
    num_reference: dict[str, int]
    final: bool
    curve: list[dict[str, Any]]
    """Every candidate in every round of the search: {"omega", "sampler", "num_samples",
    "scores"}, on the same noise and labels; compare rows of equal num_samples only. FID and
    accuracy; at the choice of the final score, all metrics."""
    intervals: dict[str, dict[str, Any]]
    """At the choice of the final score: 95 % intervals over samples (`Interval`), by score."""
    class_scores: dict[str, float]
    """The same, by `metric/class_LABEL`."""
    samples_drawn: int
    """Images that were sampled, over all candidates."""
    seconds: dict[str, float]
    """Of one worker: sampling, features, metrics."""
    asked: dict[str, Any] = field(default_factory=dict)
    """What the search was asked for; where that is equal, scoring again would give this card."""

    @property
    def objective(self) -> str:
        """The first objective."""
        return self.objectives[0]

    @property
    def value(self) -> float:
        """The first objective's value."""
        return self.values[0]

    @property
    def scores(self) -> dict[str, float]:
        """All scores at the choice, on the full N."""
        return self.scores_by_num_samples[self.num_samples["all"]]

    @property
    def scores_by_num_samples(self) -> dict[int, dict[str, float]]:
        """The scores of the choice in every round: what others at equal N are held against."""
        chosen = (self.omega, self.sampler)
        return {
            row["num_samples"]: dict(row["scores"])
            for row in self.curve
            if (row["omega"], row["sampler"]) == chosen
        }

    @property
    def points(self) -> list[dict[str, Any]]:
        """The rows of the curve on the full N; each is a point that a front can hold."""
        return [row for row in self.curve if row["num_samples"] == self.num_samples["all"]]

    @property
    def protocol(self) -> Protocol:
        """What the scores depend on beside the model; all the samplers that could be chosen."""
        names = list(dict.fromkeys(name for _, name in self.asked.get("choices", [])))
        samplers = " or ".join(names or [self.sampler])
        return Protocol(self.extractor, samplers, self.reference, self.num_samples["all"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as stored in the trial's folder."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ScoreCard":
        """Build from `to_dict`'s result.

        Raises:
            ValueError: it is of another version.
        """
        known = {item.name for item in dataclasses.fields(cls)}
        if values.keys() != known:
            differing = ", ".join(sorted(known ^ values.keys()))
            raise ValueError(
                f"the scores are those of another version ({differing}); allowed: scores of this "
                "one, so remove them and score again"
            )
        return cls(**values)
