"""The scores of one checkpoint, as they are stored."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffrop.metrics.interval import Interval
from diffrop.metrics.protocol import Protocol
from diffrop.record.codec import decode
from diffrop.record.json_files import read_json, write_record


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The scores of one candidate in one round of the search for the best sampling choice."""

    omega: float
    sampler: str
    num_samples: int
    """Over all classes."""
    scores: dict[str, float]


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
    curve: list[CurvePoint]
    """Every candidate in every round of the search, on the same noise and labels; compare points
    of equal num_samples only. FID and accuracy; at the choice of the final score, all metrics."""
    intervals: dict[str, Interval]
    """At the choice of the final score: 95 % intervals over samples, by score."""
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
        """The scores of the choice in every round: what others at equal N are compared with."""
        chosen = (self.omega, self.sampler)
        return {
            point.num_samples: dict(point.scores)
            for point in self.curve
            if (point.omega, point.sampler) == chosen
        }

    @property
    def points(self) -> list[CurvePoint]:
        """The points of the curve on the full N; each is one that a front can hold."""
        return [point for point in self.curve if point.num_samples == self.num_samples["all"]]

    @property
    def protocol(self) -> Protocol:
        """What the scores depend on beside the model; all the samplers that could be chosen."""
        names = list(dict.fromkeys(name for _, name in self.asked.get("choices", [])))
        samplers = " or ".join(names or [self.sampler])
        return Protocol(self.extractor, samplers, self.reference, self.num_samples["all"])


def read_score(path: Path) -> ScoreCard:
    """Read a score file.

    Raises:
        ValueError: it is damaged, not written to its end, or of another version.
    """
    values = read_json(path)
    try:
        card = decode(ScoreCard, values, "the score")
        _ = card.scores, card.value  # there is a row of the choice on the full N
    except (IndexError, KeyError) as error:
        raise ValueError(f"{path} is no complete score file ({error!r})") from error
    except ValueError as error:
        raise ValueError(f"{path} is no complete score file ({error})") from error
    return card


def write_score(path: Path, card: ScoreCard) -> None:
    """Write a score file, whole or not at all."""
    write_record(path, card, indent=None)
