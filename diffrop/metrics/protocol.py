"""What scores depend on beside the model; importable without torch."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MIN_SHOWN = 100
"""Samples behind a score that is drawn, at least; an FID of fewer says more about their number."""
NEIGHBOURS = 5
"""k of improved precision and recall."""


@dataclass(frozen=True)
class Protocol:
    """What scores depend on beside the model: only those of equal protocols compare."""

    extractor: str
    sampler: str
    """Sampler and steps, such as ddim-50."""
    reference: str
    num_samples: int
    """N over all classes."""
    neighbours: int = NEIGHBOURS
    """k of improved precision and recall, which published ones have as 3 or 5."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


def check_comparable(protocols: Sequence[Protocol]) -> None:
    """Raise ValueError, naming the differences, unless all protocols are the same."""
    for name in (field.name for field in dataclasses.fields(Protocol)):
        found = sorted({str(getattr(protocol, name)) for protocol in protocols})
        if len(found) > 1:
            raise ValueError(
                f"scores at different {name} ({', '.join(found)}) do not compare; allowed: one"
            )


def name_note(metric: str, extractor: str) -> str:
    """Return what belongs to a metric's name wherever it is shown; empty for most.

    Improved precision and recall are published on VGG-16 with k = 3 and on InceptionV3 with k = 3
    or 5, and differ much between them: their names say extractor and k.
    """
    return f"(k = {NEIGHBOURS}, {extractor})" if metric in ("precision", "recall") else ""
