"""The datasets, each loaded whole into memory as uint8."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from diffrop.activity import Tell, untold
from diffrop.config import DataConfig
from diffrop.data.image_folder import read_folder
from diffrop.data.labelled_images import LabelledImages
from diffrop.data.long_tail import long_tailed_counts, long_tailed_indices, shot_groups

DEFAULT_FOLDER_SIZE = 32


@dataclass(frozen=True)
class Dataset:
    """What a model is trained on and what its samples are scored against."""

    name: str
    train: LabelledImages
    reference: LabelledImages
    reference_name: str
    """Which images these are; stands beside every score."""
    heldout: LabelledImages | None
    """Images of the same distribution that training never sees: the test split, or what was left
    out to make the set long-tailed; None if there are neither."""
    train_digest: str
    reference_digest: str

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.train.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def shot_groups(self) -> dict[str, list[int]]:
        """Labels per shot group, by the training counts."""
        return shot_groups(self.train.class_counts)


def _load_digits(config: DataConfig, tell: Tell) -> LabelledImages:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(np.round(digits.images * (255 / 16)).astype(np.uint8))
    labels = torch.from_numpy(digits.target.astype(np.int64))
    return LabelledImages(images.unsqueeze(1), labels, tuple(str(c) for c in range(10)))


def _load_torchvision(
    class_name: str, config: DataConfig, tell: Tell, train: bool = True
) -> LabelledImages:
    import torchvision.datasets

    root = config.root or "data"
    tell(f"reading {class_name} in {root}, or downloading it there", None)
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        loaded = getattr(torchvision.datasets, class_name)(root, train=train, download=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"{class_name} is not in {root!r} and could not be downloaded ({error}). To fix: "
            "name a folder in torchvision's layout with --data-root."
        ) from error
    images = torch.as_tensor(loaded.data)
    images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2)
    labels = torch.as_tensor(loaded.targets, dtype=torch.int64)
    return LabelledImages(images.contiguous(), labels, tuple(loaded.classes))


def _load_folder(config: DataConfig, tell: Tell) -> LabelledImages:
    size = config.image_size or DEFAULT_FOLDER_SIZE
    return folder_images(config, config.root, "data root", size, tell=tell)


def folder_images(
    config: DataConfig,
    root: str | None,
    name: str,
    size: int,
    mode: str = "RGB",
    tell: Tell = untold,
) -> LabelledImages:
    """Read a folder as the configuration says; see `diffrop.data.image_folder.read_folder`."""
    skip, most = config.skip_damaged, config.max_image_pixels
    return read_folder(root, name, size, mode, skip_damaged=skip, max_pixels=most, tell=tell)


@dataclass(frozen=True)
class Source:
    """How a dataset is loaded, and the head class's count when it is made long-tailed."""

    load: Callable[[DataConfig, Tell], LabelledImages]
    """Tells how far it is."""
    max_count: int | None
    """None takes the rarest class's count, so that every class has as many as it needs."""
    load_test: Callable[[DataConfig, Tell], LabelledImages] | None = None
    """Its own test images; None where it has none."""


def _torchvision_source(class_name: str, max_count: int) -> Source:
    return Source(
        partial(_load_torchvision, class_name),
        max_count,
        partial(_load_torchvision, class_name, train=False),
    )


DATASETS: dict[str, Source] = {
    "digits": Source(_load_digits, 170),
    "cifar10": _torchvision_source("CIFAR10", 5000),
    "cifar100": _torchvision_source("CIFAR100", 500),
    "fashion_mnist": _torchvision_source("FashionMNIST", 6000),
    "image_folder": Source(_load_folder, None),
}


def load_dataset(config: DataConfig, tell: Tell = untold) -> Dataset:
    """Load a dataset and make it long-tailed, and tell how far that is.

    Raises:
        ValueError: unknown name, missing or unreadable files, an impossible long tail, or a
            reference that there is not or that has other classes.
    """
    if config.dataset not in DATASETS:
        raise ValueError(f"dataset is {config.dataset!r}; allowed: {', '.join(DATASETS)}")
    source = DATASETS[config.dataset]
    full = source.load(config, tell)
    train, left_out = full, None
    if config.imbalance_factor is not None:
        available = full.class_counts
        max_count = source.max_count or min(available)
        counts = long_tailed_counts(max_count, len(available), config.imbalance_factor)
        kept = long_tailed_indices(full.labels, counts)
        train = full.subset(kept)
        others = torch.ones(len(full.labels), dtype=torch.bool).index_fill_(0, kept, False)
        left_out = full.subset(others.nonzero().flatten()) if others.any() else None
    heldout = source.load_test(config, tell) if source.load_test else left_out
    reference, name = _reference(config, full, heldout if source.load_test else None, tell)
    digests = train.digest, reference.digest
    return Dataset(config.dataset, train, reference, name, heldout, *digests)


def _reference(
    config: DataConfig, full: LabelledImages, test: LabelledImages | None, tell: Tell
) -> tuple[LabelledImages, str]:
    """Return the reference images and their name, which says so if classes are unequal."""
    if config.reference_root is not None:
        channels, size = full.images.shape[1:3]
        mode = "L" if channels == 1 else "RGB"
        root, name = config.reference_root, "reference root"
        found = folder_images(config, root, name, size, mode, tell)
        name = f"images of {Path(config.reference_root).name} ({found.digest[:8]})"
        if found.class_names != full.class_names:
            raise ValueError(
                f"reference root {config.reference_root!r} has the classes "
                f"{', '.join(found.class_names)}; allowed: {', '.join(full.class_names)}"
            )
    elif config.reference == "heldout":
        if test is None:
            raise ValueError(
                f"reference is 'heldout', and {config.dataset} has no test split. To fix: take "
                "train, or name a folder of images with --reference-root."
            )
        found, name = test, "test images"
    else:
        found = full
        name = "training images" if config.imbalance_factor is None else "full training set"
    weighted = len(set(found.class_counts)) > 1
    return found, f"{name}, class-weighted" if weighted else name
