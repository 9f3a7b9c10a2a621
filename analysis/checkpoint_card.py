"""Reads what a checkpoint says of itself, without loading its tensors."""

import json
from pathlib import Path
from typing import Any

MAX_HEADER_BYTES = 100_000_000


def read_card(path: Path) -> dict[str, Any]:
    """Return the JSON card in the header of a safetensors file; {} if it cannot be read.

    A safetensors file begins with the length of its JSON header as a little-endian uint64.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, MAX_HEADER_BYTES)))
        card = json.loads(header["__metadata__"]["card"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return card if isinstance(card, dict) else {}


def class_counts(trial: Path) -> list[int]:
    """Return the training images per class, in label order, from a trial's newest checkpoint.

    Returns:
        an empty list where no checkpoint is left or none can be read.
    """
    for path in sorted((trial / "training").glob("images_*.safetensors"), reverse=True):
        counts = read_card(path).get("class_counts")
        if isinstance(counts, list) and counts:
            return [int(count) for count in counts]
    return []
