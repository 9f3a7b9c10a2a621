"""How far the score is that a trial is being given: a file that is there while it is scored."""

from dataclasses import dataclass
from typing import Literal

from diffrop.activity import time_text

Part = Literal["sampling", "features", "metrics"]


@dataclass(frozen=True, kw_only=True)
class ScoringNow:
    """How far the score of a checkpoint is."""

    images_seen: int
    """By the checkpoint."""
    round: int
    """Of the search of sampling choices, from 1."""
    num_rounds: int
    sampler: str
    """That is being drawn with, as it stands beside scores; empty before the first."""
    omega: float
    part: Part
    images: float
    """Samples drawn so far, over all candidates; a part of those that are being drawn counts."""
    num_images: int
    """That are drawn in all, at most."""
    seconds: float
    """Since scoring began."""
    seconds_left: float | None
    """Of sampling and features; None before anything is drawn, and for metrics, which nobody
    times beforehand."""

    @property
    def text(self) -> str:
        """In one line."""
        if self.part == "metrics" and self.images >= self.num_images:
            return f"scoring: metrics, after {time_text(self.seconds)}"
        left = "" if self.seconds_left is None else f", {time_text(self.seconds_left)} left"
        drawn = f"{self.images:,.0f} of {self.num_images:,} images"
        rounds = f"round {self.round} of {self.num_rounds}, " if self.num_rounds > 1 else ""
        how = f"{self.sampler}, omega {self.omega:g}, " if self.sampler else ""
        return f"scoring: {rounds}{how}{drawn}{left}"
