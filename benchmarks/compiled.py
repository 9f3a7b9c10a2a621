"""What the scripts that train for a table share: networks that sample fast, draws, and times."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from diffrop.config import ExperimentConfig
from diffrop.data import Dataset, LabelledImages
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.metrics.report import balanced_labels
from diffrop.scoring.samples import draw_samples
from diffrop.training.network import build_network

CHUNK = 125
"""Images that go through the compiled network at a time."""


class Chunked(nn.Module):
    """A compiled network that always sees `CHUNK` images; it can take the weights of any EMA."""

    def __init__(self, network: nn.Module, image_shape: tuple[int, ...]) -> None:
        """Compile a network, which keeps its weights, for images of a shape (C, H, W)."""
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self._compiled = torch.compile(network, dynamic=False)
        labels = torch.zeros(CHUNK, dtype=torch.int64)
        self(torch.zeros(CHUNK, *image_shape), labels, labels)  # before anything is timed

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the predicted noise of a whole number of chunks."""
        parts = zip(*(tensor.split(CHUNK) for tensor in inputs), strict=True)
        return torch.cat([self._compiled(*part) for part in parts])


class Networks:
    """The compiled networks to sample with, one for each architecture."""

    def __init__(self) -> None:
        """Start without any."""
        self._compiled: dict[str, Chunked] = {}

    def of(self, config: ExperimentConfig, dataset: Dataset) -> Chunked:
        """Return that of a configuration; it takes the weights of any training of it."""
        plain = config.with_values({"model.dropout": 0.0})
        key = f"{dataset.name} {plain.model} {plain.augmentation}"
        if key not in self._compiled:
            network = build_network(plain, dataset.num_classes, dataset.image_shape)
            self._compiled[key] = Chunked(network, dataset.image_shape)
        return self._compiled[key]


def drawn(
    network: nn.Module,
    schedule: NoiseSchedule,
    config: ExperimentConfig,
    dataset: Dataset,
    omega: float,
    count: int,
) -> LabelledImages:
    """Return so many class-balanced samples, by the sampler and the noise of a configuration."""
    labels = balanced_labels(count, dataset.num_classes)
    images = draw_samples(
        network,
        schedule,
        config.sampling,
        dataset.image_shape,
        labels,
        omega,
        dataset.num_classes,
        config.evaluation.seed,
    )
    return LabelledImages(images, labels, dataset.train.class_names)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return a result and the seconds of processor time that it took.

    One thread works, so that these are the wall-clock seconds of an idle core.
    """
    start = time.process_time()
    result = work()
    return result, time.process_time() - start
