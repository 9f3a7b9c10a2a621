"""What scores depend on beside the model; importable without torch."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Protocol:
    """What scores depend on beside the model: only those of equal protocols compare."""

    extractor: str
    sampler: str
    """Sampler and steps, such as ddim-50."""
    reference: str
    num_samples: int
    """N over all classes."""

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
