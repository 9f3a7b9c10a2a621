"""Reads what a checkpoint says of itself, without loading its tensors."""

import json
import math
from pathlib import Path
from typing import Any

from analysis.data.folders import checkpoint_files

MAX_HEADER_BYTES = 100_000_000


def read_header(path: Path) -> dict[str, Any]:
    """Return the JSON header of a safetensors file; {} if it cannot be read.

    The file begins with the header's length as a little-endian uint64.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, MAX_HEADER_BYTES)))
    except (OSError, ValueError):
        return {}
    return header if isinstance(header, dict) else {}


def read_card(path: Path) -> dict[str, Any]:
    """Return the card in the header of a checkpoint; {} if it cannot be read."""
    try:
        card = json.loads(read_header(path)["__metadata__"]["card"])
    except (ValueError, KeyError, TypeError):
        return {}
    return card if isinstance(card, dict) else {}


def num_parameters(path: Path) -> int:
    """Return how many numbers a checkpoint's model has; 0 if that cannot be read."""
    shapes = [
        entry["shape"]
        for name, entry in read_header(path).items()
        if name.startswith("model.") and isinstance(entry, dict)
    ]
    return sum(math.prod(shape) for shape in shapes)


def class_counts(trial: Path) -> list[int]:
    """Return the training images per class, in label order, from a trial's newest checkpoint.

    Returns:
        an empty list where no checkpoint is left or none can be read.
    """
    for path in reversed(checkpoint_files(trial)):
        counts = read_card(path).get("class_counts")
        if isinstance(counts, list) and counts:
            return [int(count) for count in counts]
    return []
