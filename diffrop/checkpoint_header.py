"""The header of a checkpoint file: what it is, read without torch and without its tensors.

Of format 2 it holds `format`, `card` (JSON), `tensors_sha256` and `sha256`. The last is of the
three before it, so that it covers card and tensors alike. In files of format 1, which have no
`tensors_sha256`, `sha256` is of the tensors alone: a file of format 2 that was altered to say 1
has another one, and is refused. No later format has the keys of format 1 and no other: such a
file was altered, too.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from diffrop.errors import CheckpointError, NewerFormatError

FORMAT = 2
FORMAT_OF_TENSORS_ALONE = 1
"""The format before, whose digest leaves the card out; it is still read."""
KEYS_OF_TENSORS_ALONE = {"format", "card", "sha256"}

PARSING_ERRORS = (
    OSError,
    SafetensorError,
    RuntimeError,  # of torch, too
    ValueError,  # of JSON and of texts that are not UTF-8, too
    LookupError,
    TypeError,
    AttributeError,  # a number type that numpy or torch does not have
)


@dataclass(frozen=True)
class CheckpointHeader:
    """What a checkpoint's header says."""

    card: dict[str, Any]
    card_text: str
    """The card as it stands in the file."""
    tensors_sha256: str
    """Of the tensors; reading them must give the same."""


def header_metadata(card: Mapping[str, Any], tensors_sha256: str) -> dict[str, str]:
    """Return what the header of a new file holds."""
    text = json.dumps(card)
    return {
        "format": str(FORMAT),
        "card": text,
        "tensors_sha256": tensors_sha256,
        "sha256": _digest(str(FORMAT), text, tensors_sha256),
    }


def read_header(path: Path) -> CheckpointHeader:
    """Return a checkpoint's header, verified but for the tensors.

    Raises:
        NewerFormatError: a later version wrote the file.
        CheckpointError: the file is missing, altered, or no checkpoint of ours.
    """
    with errors_as_unreadable(path), safe_open(path, framework="np") as file:
        found: dict[str, str] = file.metadata() or {}
    text, stored = found.get("card", ""), found.get("sha256", "")
    sha256 = found.get("tensors_sha256", "")
    as_now = stored == _digest(str(FORMAT), text, sha256)
    match found.get("format"):
        case str(number) if number == str(FORMAT_OF_TENSORS_ALONE):
            sha256 = stored
        case str(number) if number == str(FORMAT):
            if not as_now:
                raise CheckpointError(f"{path} is damaged: its card does not match its SHA-256")
        case str(number) if number.isascii() and number.isdecimal() and int(number) > FORMAT:
            if as_now or found.keys() == KEYS_OF_TENSORS_ALONE:
                raise CheckpointError(f"{path} is damaged: its format was altered to {number}")
            raise NewerFormatError(path, number, FORMAT)
        case other:
            raise CheckpointError(
                f"{path} has checkpoint format {other}; allowed: {FORMAT_OF_TENSORS_ALONE} "
                f"to {FORMAT}"
            )
    with errors_as_unreadable(path):
        card = json.loads(text)
    if not isinstance(card, dict):
        raise CheckpointError(f"{path} is not a readable checkpoint (its card is no mapping)")
    return CheckpointHeader(card, text, sha256)


def read_card(path: Path) -> dict[str, Any]:
    """Return a checkpoint's card, without reading its tensors.

    Raises:
        CheckpointError: the file is missing, altered, or no checkpoint of ours.
    """
    return read_header(path).card


def read_digest(path: Path) -> str:
    """Return the SHA-256 of a checkpoint's tensors by its header, without reading them.

    Raises:
        CheckpointError: the file is missing, altered, or no checkpoint of ours.
    """
    return read_header(path).tensors_sha256


def num_values(path: Path, part: str) -> int:
    """Return how many numbers the tensors of a part, such as "model", hold in all.

    Raises:
        CheckpointError: the file is missing, altered, or no checkpoint of ours.
    """
    read_header(path)
    with errors_as_unreadable(path), safe_open(path, framework="np") as file:
        names = [name for name in file.keys() if name.startswith(f"{part}.")]  # noqa: SIM118
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


@contextmanager
def errors_as_unreadable(path: Path) -> Iterator[None]:
    """Turn whatever the parsers of a file raise into one error.

    A damaged header reaches deep into safetensors, which raises errors of many kinds.
    """
    try:
        yield
    except PARSING_ERRORS as error:
        cause = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} is not a readable checkpoint ({cause})") from error


def _digest(number: str, card: str, tensors_sha256: str) -> str:
    parts = json.dumps([number, card, tensors_sha256])
    return hashlib.sha256(parts.encode()).hexdigest()
