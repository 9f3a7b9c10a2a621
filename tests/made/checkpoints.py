"""Checkpoints and identities of trainings that never took place, and ways to damage a file."""

import os
from pathlib import Path

import torch

from diffrop.checkpoint_file import Checkpoint
from diffrop.training.identity import TrainingIdentity


def checkpoint(value: float = 1.0) -> Checkpoint:
    """Two tensors and a card of 64 images seen."""
    tensors = {"model.a": torch.full((3, 2), value), "step": torch.tensor(7)}
    return Checkpoint(tensors, {"images_seen": 64, "name": "x"})


def identity(seed: int = 0, parent: str | None = None) -> TrainingIdentity:
    """The identity of a training of one worker that has no setting but its seed."""
    return TrainingIdentity({"training.seed": seed}, 1, "data", parent)


def damage(path: Path, how: str) -> None:
    """Truncate a file, flip a bit of it ("flip") or empty it."""
    content = bytearray(path.read_bytes())
    if how == "truncate":
        content = content[: len(content) // 2]
    elif how == "flip":
        content[-1] ^= 1
    else:
        content = bytearray()
    path.write_bytes(content)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._folder),)
