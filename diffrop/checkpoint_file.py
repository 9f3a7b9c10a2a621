"""Checkpoints: one safetensors file each, written whole or not at all, verified when read.

A file holds named tensors, such as those of a training's state, and, in its header, a JSON card
with the resolved configuration and provenance. Nothing in it is executed when it is loaded.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diffrop.checkpoint_header import FORMAT, read_header
from diffrop.errors import CheckpointError
from diffrop.storage import temporary_beside


@dataclass(frozen=True)
class Checkpoint:
    """A training state: named tensors, and the card that says what they are."""

    tensors: dict[str, Tensor]
    card: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors below `prefix.`, without it."""
        start = f"{prefix}."
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically: under a temporary name, flushed to disk, then renamed.

    Raises:
        CheckpointError: the disk is full or not writable; `path` is as it was before.
    """
    temporary = temporary_beside(path)
    tensors = {name: tensor.contiguous().cpu() for name, tensor in checkpoint.tensors.items()}
    metadata = {
        "format": str(FORMAT),
        "card": json.dumps(checkpoint.card),
        "sha256": _digest(tensors),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, metadata)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write checkpoint {path} ({error}); earlier checkpoints are untouched"
        ) from error


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        CheckpointError: the file is missing, truncated, altered, or no checkpoint of ours.
    """
    header = read_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a readable checkpoint ({error})") from error
    if header.get("sha256") != _digest(tensors):
        raise CheckpointError(f"{path} is damaged: its content does not match its SHA-256")
    moved = {name: tensor.to(device) for name, tensor in tensors.items()}
    return Checkpoint(moved, json.loads(header["card"]))


def _digest(tensors: Mapping[str, Tensor]) -> str:
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
