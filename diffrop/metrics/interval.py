"""A score with its confidence interval; importable without torch."""

import dataclasses
from dataclasses import dataclass
from typing import Any

LEVEL = 0.95
"""Confidence of every interval that is shown."""


@dataclass(frozen=True)
class Interval:
    """A score with its confidence interval over samples."""

    value: float
    low: float
    high: float
    standard_error: float
    level: float
    num_samples: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)
