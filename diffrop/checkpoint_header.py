"""The header of a checkpoint file: what it is, read without torch and without its tensors."""

import json
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from diffrop.errors import CheckpointError

FORMAT = 1


def read_header(path: Path) -> dict[str, str]:
    """Return a checkpoint's header: `format`, `card` (JSON) and `sha256` (of the tensors).

    Raises:
        CheckpointError: the file is missing, or no checkpoint of ours.
    """
    try:
        with safe_open(path, framework="np") as file:
            header: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a readable checkpoint ({error})") from error
    if header.get("format") != str(FORMAT):
        found = header.get("format")
        raise CheckpointError(f"{path} has checkpoint format {found}; allowed: {FORMAT}")
    return header


def read_card(path: Path) -> dict[str, Any]:
    """Return a checkpoint's card, without reading its tensors.

    Raises:
        CheckpointError: the file is missing, or no checkpoint of ours.
    """
    card: dict[str, Any] = json.loads(read_header(path)["card"])
    return card


def read_digest(path: Path) -> str:
    """Return the SHA-256 that a checkpoint's header gives, without reading its tensors.

    Raises:
        CheckpointError: the file is missing, or no checkpoint of ours.
    """
    return read_header(path)["sha256"]


def num_values(path: Path, part: str) -> int:
    """Return how many numbers the tensors of a part, such as "model", hold in all.

    Raises:
        CheckpointError: the file is missing, or no checkpoint of ours.
    """
    read_header(path)
    with safe_open(path, framework="np") as file:
        names = [name for name in file.keys() if name.startswith(f"{part}.")]  # noqa: SIM118
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)
