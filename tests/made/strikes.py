"""Faults that strike the processes of trials from within: in the training loop, or in a score."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from diffrop.data import Dataset
from diffrop.metrics.features import FeatureExtractor
from tests.made.small import RowBrightness

BATCHES_BEFORE = 4
"""That a process takes before it is struck in the training loop."""


class Striker:
    """Strikes rank 0 of trials, once for each fault; files keep count over all processes."""

    def __init__(self, faults: tuple[str, ...], folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.faults, self.folder = faults, folder
        self.driver = os.getpid()  # which times training and extractor for its plan

    @property
    def strikes(self) -> list[Path]:
        """A file for each strike, with the process that was struck."""
        return list(self.folder.glob("strike-*"))

    def strike(self) -> None:
        """Strike this process, if it is one of a trial and a fault is left."""
        rank_0 = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
        struck = len(self.strikes)
        if os.getpid() == self.driver or not rank_0 or struck >= len(self.faults):
            return
        (self.folder / f"strike-{struck}").write_text(str(os.getpid()))
        match self.faults[struck]:
            case "exception":
                raise RuntimeError("injected")
            case "exit 0":
                os._exit(0)
            case "kill -9":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                os.kill(os.getpid(), signal.SIGSTOP)


class FaultyNetwork(RowBrightness):
    """Strikes in the process that scores."""

    def __init__(self, striker: Striker) -> None:
        super().__init__()
        self.striker = striker

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features, or strike."""
        self.striker.strike()
        return super().forward(images)


def striking_extractor(striker: Striker) -> FeatureExtractor:
    """An extractor that strikes."""
    return FeatureExtractor(FaultyNetwork(striker), "pixels")


class StrikingImages:
    """Training images that strike the training loop where it takes a batch."""

    def __init__(self, images: torch.Tensor, striker: Striker) -> None:
        self._images, self._striker = images, striker
        self._taken = 0

    def to(self, device: torch.device) -> "StrikingImages":
        """A process of a trial counts its own batches."""
        return StrikingImages(self._images.to(device), self._striker)

    def __getitem__(self, indices: torch.Tensor) -> torch.Tensor:
        """Return a batch, or strike."""
        self._taken += 1
        if self._taken > BATCHES_BEFORE:
            self._striker.strike()
        if os.getpid() != self._striker.driver:
            with (self._striker.folder / "images").open("a") as file:
                file.write(f"{len(indices)}\n")
        return self._images[indices]

    def __getattr__(self, name: str) -> Any:
        """Be the tensor in all else."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._images, name)


def striking_dataset(dataset: Dataset, striker: Striker) -> Dataset:
    """The same data set; whoever trains on it is struck."""
    images: Any = StrikingImages(dataset.train.images, striker)
    return replace(dataset, train=replace(dataset.train, images=images))


def images_taken(striker: Striker) -> int:
    """Images that all processes of trials took for training, struck ones too."""
    return sum(int(line) for line in (striker.folder / "images").read_text().splitlines())
