"""The stored scores of pure noise and of real images, anchors.json."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffrop.record.codec import decode
from diffrop.record.json_files import read_json


@dataclass(frozen=True, kw_only=True)
class ReferenceScore:
    """What is read of one report; it holds more."""

    scores: dict[str, float]
    num_samples: dict[str, int]
    note: str = ""


def read_reference_scores(path: Path) -> dict[str, Any]:
    """Read anchors.json: a report each for "noise" and "real", or none.

    Raises:
        ValueError: it is missing or damaged.
    """
    found = read_json(path)
    for name, report in found.items():
        try:
            decode(ReferenceScore, report, name)
        except ValueError as error:
            raise ValueError(f"cannot read {path} ({error})") from error
    return found
