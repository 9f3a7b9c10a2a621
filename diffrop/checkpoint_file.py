"""Checkpoints: one safetensors file each, written whole or not at all, verified when read.

A file holds named tensors, such as those of a training's state, and, in its header, a JSON card
with the resolved configuration and provenance. Nothing in it is executed when it is loaded.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diffrop.checkpoint_header import errors_as_unreadable, header_metadata, read_header
from diffrop.errors import CheckpointError, NewerFormatError
from diffrop.storage import set_aside, written_atomically

Cached = TypeVar("Cached")


@dataclass(frozen=True)
class Checkpoint:
    """A training state: named tensors, and the card that says what they are."""

    tensors: dict[str, Tensor]
    card: dict[str, Any]
    path: Path | None = None
    """The file that it was read from."""

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors below `prefix.`, without it."""
        start = f"{prefix}."
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically: under a temporary name, flushed to disk, then renamed.

    Raises:
        CheckpointError: the disk is full or not writable; `path` is as it was before.
    """
    tensors = {name: tensor.contiguous().cpu() for name, tensor in checkpoint.tensors.items()}
    metadata = header_metadata(checkpoint.card, _digest(tensors))
    try:
        with written_atomically(path) as temporary:
            save_file(tensors, temporary, metadata)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot write checkpoint {path} ({error}); earlier checkpoints are untouched"
        ) from error


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        NewerFormatError: a later version wrote the file.
        CheckpointError: the file is missing, truncated, altered, or no checkpoint of ours.
    """
    header = read_header(path)
    with errors_as_unreadable(path), safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found = _digest(tensors)
    if found != header.tensors_sha256:
        raise CheckpointError(f"{path} is damaged: its content does not match its SHA-256")
    moved = {name: tensor.to(device) for name, tensor in tensors.items()}
    return Checkpoint(moved, header.card, path)


def read_cache(path: Path, use: Callable[[Checkpoint], Cached]) -> Cached | None:
    """Read a file that can be made again.

    Args:
        path: the file.
        use: takes what is needed out of it, or raises if that is not there.

    Returns:
        None without the file, and where it is damaged: then it is set aside, with a warning.
    """
    if not os.path.lexists(path):
        return None
    try:
        return use(read_checkpoint(path))
    except (CheckpointError, NewerFormatError, LookupError, RuntimeError, ValueError) as error:
        aside = set_aside(path)
        cause = " ".join(str(error).split())[:200]
        warnings.warn(
            f"{path} cannot be used ({cause}); it is set aside as {aside.name} and made again",
            stacklevel=2,
        )
        return None


def _digest(tensors: Mapping[str, Tensor]) -> str:
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
