"""The scores of one checkpoint, as they are stored."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffrop.errors import NewerFormatError
from diffrop.metrics.interval import Interval
from diffrop.metrics.protocol import Protocol
from diffrop.record.codec import decode
from diffrop.record.json_files import read_json, write_record
from diffrop.record.names import images_of

SCORE_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The scores of one candidate in one round of the search for the best sampling choice."""

    omega: float
    sampler: str
    num_samples: int
    """Over all classes."""
    scores: dict[str, float]
    evaluations: int | None = None
    """Of the network for an image (NFE), those of guidance included; earlier versions did not say
    it."""
    at_full: dict[str, float] | None = None
    """The scores with FIDs carried to the full N, by which a round on fewer samples compares
    candidates; None on the full N, and in earlier versions, which compared `scores`."""


@dataclass(frozen=True, kw_only=True)
class CostPreference:
    """What came of asking for the cheapest choice that is almost as good as the best."""

    margin: float
    """By what share of the best's objectives its own may exceed them."""
    omega: float
    """Of the best choice."""
    sampler: str
    """Likewise."""
    evaluations: int
    """Likewise."""
    differences: dict[str, Interval]
    """Each objective less that of the best choice, paired over samples; empty where the best
    choice itself is taken."""
    reason: str
    """Of the choice, in words."""


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
    preference: CostPreference | None = None
    """Why the choice is not simply the best, where `evaluation.prefer_cheap` asked for that."""
    average_error: float | None = None
    """Of the choice's average of the weights, relative, where it was reconstructed from snapshots;
    None for those that trainings keep, and in earlier versions."""
    format: int = SCORE_FORMAT
    """Of the file; those of earlier versions do not say it."""

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
    def evaluations(self) -> int | None:
        """Evaluations of the network for an image at the choice (NFE), None if not stored."""
        chosen = (self.omega, self.sampler)
        found = (point for point in self.curve if (point.omega, point.sampler) == chosen)
        return next((point.evaluations for point in found), None)

    @property
    def scores_by_num_samples(self) -> dict[int, dict[str, float]]:
        """The scores of the choice by a round's N, as candidates were compared in that round."""
        chosen = (self.omega, self.sampler)
        return {
            point.num_samples: dict(point.at_full or point.scores)
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
        NewerFormatError: a later version wrote it.
        ValueError: it is damaged or not written to its end.
    """
    values = read_json(path)
    number = values.get("format", SCORE_FORMAT)
    if type(number) is int and number > SCORE_FORMAT:
        raise NewerFormatError(path, number, SCORE_FORMAT)
    try:
        card = decode(ScoreCard, values, "the score")
        _check(card, path)
    except (LookupError, ValueError) as error:
        raise ValueError(f"{path} is no complete score file ({error})") from error
    return card


def _check(card: ScoreCard, path: Path) -> None:
    """Raise ValueError or LookupError where what a card says twice does not agree."""
    if card.format != SCORE_FORMAT:
        raise ValueError(f"it is of format {card.format}")
    if images_of(path) not in (None, card.images_seen):
        raise ValueError(f"it is of {card.images_seen} images")
    scores = card.scores  # the row of the choice on the full N
    if not card.values or len(card.values) != len(card.objectives):
        raise ValueError("it has not one value for each objective")
    for name, value in zip(card.objectives, card.values, strict=True):
        if scores[name] != value:
            raise ValueError(f"its {name} is {value} in one place and {scores[name]} in another")


def write_score(path: Path, card: ScoreCard) -> None:
    """Write a score file, whole or not at all."""
    write_record(path, card, indent=None)
