"""Checkpoints: one safetensors file each, written whole or not at all, verified when read.

A file holds every tensor of a training state and, as its header, a JSON card with the resolved
configuration and provenance. Nothing in it is executed when it is loaded.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diffrop.config import ExperimentConfig
from diffrop.errors import CheckpointError
from diffrop.storage import temporary_beside

FORMAT = 1


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
    metadata = _header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a readable checkpoint ({error})") from error
    if metadata.get("sha256") != _digest(tensors):
        raise CheckpointError(f"{path} is damaged: its content does not match its SHA-256")
    moved = {name: tensor.to(device) for name, tensor in tensors.items()}
    return Checkpoint(moved, json.loads(metadata["card"]))


def read_digest(path: Path) -> str:
    """Return the SHA-256 that a checkpoint's header gives, without reading its tensors.

    Raises:
        CheckpointError: the file is missing, or no checkpoint of ours.
    """
    return _header(path)["sha256"]


def read_card(path: Path) -> dict[str, Any]:
    """Return a checkpoint's card, without reading its tensors.

    Raises:
        CheckpointError: the file is missing, or no checkpoint of ours.
    """
    card: dict[str, Any] = json.loads(_header(path)["card"])
    return card


def _header(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="np") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a readable checkpoint ({error})") from error
    if metadata.get("format") != str(FORMAT):
        found = metadata.get("format")
        raise CheckpointError(f"{path} has checkpoint format {found}; allowed: {FORMAT}")
    return metadata


def _digest(tensors: Mapping[str, Tensor]) -> str:
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


class CheckpointDirectory:
    """The checkpoints of one training, named by images seen; the newest `keep` are kept."""

    def __init__(self, path: Path, keep: int = 2) -> None:
        """Use `path`, which need not exist yet."""
        self.path = path
        self._keep = keep

    def files(self) -> list[Path]:
        """Return the checkpoint files, oldest first."""
        return sorted(self.path.glob("images_*.safetensors"))

    def path_of(self, images_seen: int) -> Path:
        """Return where the checkpoint at `images_seen` is, or would be."""
        return self.path / f"images_{images_seen:012d}.safetensors"

    def save(self, images_seen: int, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, then remove old ones and what an earlier crash left behind.

        Raises:
            CheckpointError: it could not be written; nothing was removed.
        """
        path = self.path_of(images_seen)
        write_checkpoint(path, checkpoint)
        self._thin(images_seen)
        for orphan in self.path.glob(".images_*.tmp"):
            orphan.unlink(missing_ok=True)
        return path

    def newest(self, device: torch.device | str = "cpu") -> Checkpoint | None:
        """Return the newest intact checkpoint, with a warning for each damaged one passed over."""
        for path in reversed(self.files()):
            try:
                return read_checkpoint(path, device)
            except CheckpointError as error:
                warnings.warn(f"{error}; the one before it is used", stacklevel=2)
        return None

    def _thin(self, saved: int) -> None:
        """Remove what may go once the checkpoint at `saved` images is written."""
        for stale in self.files()[: -self._keep]:
            stale.unlink(missing_ok=True)


def images_of(path: Path) -> int:
    """Return the images seen that a checkpoint's name gives."""
    return int(path.stem.removeprefix("images_"))


def config_of(card: dict[str, Any]) -> ExperimentConfig:
    """Return the configuration that a checkpoint's card holds."""
    return ExperimentConfig.from_dict(card["config"])


def average_part(length: float | None) -> str:
    """Return under which prefix a checkpoint holds the average of a length, None the EMA."""
    return "ema" if length is None else f"ema_{length}"
