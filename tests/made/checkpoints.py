"""Checkpoints and identities of trainings that never took place, and ways to damage a file."""

import os
from pathlib import Path

import torch

from diffrop.checkpoint_file import Checkpoint
from diffrop.training.identity import TrainingIdentity
from diffrop.training.store import CheckpointStore, TrainingFolder


def checkpoint(value: float = 1.0, images: int = 64) -> Checkpoint:
    """Two tensors and a card of so many images seen."""
    tensors = {"model.a": torch.full((3, 2), value), "step": torch.tensor(7)}
    return Checkpoint(tensors, {"images_seen": images, "name": "x"})


def identity(seed: int = 0, parent: str | None = None) -> TrainingIdentity:
    """The identity of a training of one worker that has no setting but its seed."""
    return TrainingIdentity({"training.seed": seed}, 1, "data", parent)


def filled(
    store: CheckpointStore, seed: int, *images: int, parent: str | None = None
) -> TrainingFolder:
    """The folder of a training in a store, with checkpoints at some images."""
    folder = store.open(identity(seed, parent), keep=100)
    for count in images:
        folder.save(count, checkpoint(count, count))
    return folder


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
