"""Held-out images: what a classifier is scored on, apart from everything it may be trained on."""

import dataclasses
from dataclasses import dataclass

import torch

from diffrop.activity import Tell, untold
from diffrop.config import DataConfig
from diffrop.data.datasets import DATASETS, folder_images, load_dataset
from diffrop.data.labelled_images import LabelledImages
from diffrop.data.long_tail import long_tailed_indices

MAX_TEST_PER_CLASS = 40
"""Held out of sets that have no test images of their own."""


@dataclass(frozen=True)
class SplitDataset:
    """A dataset with held-out images."""

    train: LabelledImages
    """Long-tailed; the very images that a generative model of the same data is trained on."""
    train_digest: str
    balanced: LabelledImages
    """All images that are not held out; contains `train`."""
    test: LabelledImages


def load_split(
    config: DataConfig, test_root: str | None = None, tell: Tell = untold
) -> SplitDataset:
    """Load a dataset and its held-out images, and tell how far that is.

    Torchvision's sets have test images, an image_folder those in `test_root`. Digits have none:
    held out are up to 40 images of each class from those outside the long-tailed training set.

    Raises:
        ValueError: `test_root` is missing, not needed or has other classes, or no images are
            left outside the training set.
    """
    if (config.dataset == "image_folder") != (test_root is not None):
        raise ValueError(
            f"--test-root is {test_root!r} with dataset {config.dataset}; allowed: a folder of "
            "held-out images with image_folder, none with other datasets"
        )
    # What samples are scored against says nothing about what a classifier may learn from.
    data = load_dataset(dataclasses.replace(config, reference="train", reference_root=None), tell)
    if test_root is not None:
        size = data.train.images.shape[-1]
        test = folder_images(config, test_root, "test root", size, tell=tell)
    elif DATASETS[config.dataset].load_test is not None and data.heldout is not None:
        test = data.heldout
    else:
        balanced, test = _hold_out(data.reference, data.train.class_counts)
        return SplitDataset(data.train, data.train_digest, balanced, test)
    if test.class_names != data.train.class_names:
        raise ValueError(
            f"the held-out images have classes {', '.join(test.class_names)}; allowed: those of "
            f"the training images, {', '.join(data.train.class_names)}"
        )
    return SplitDataset(data.train, data.train_digest, data.reference, test)


def _hold_out(
    reference: LabelledImages, class_counts: list[int]
) -> tuple[LabelledImages, LabelledImages]:
    """Part a set into what may be trained on, and test images outside the long-tailed subset."""
    available = reference.class_counts
    num_test = [
        min(all_images - trained, MAX_TEST_PER_CLASS)
        for all_images, trained in zip(available, class_counts, strict=True)
    ]
    if min(num_test) < 1:
        raise ValueError(
            f"all images of class {num_test.index(min(num_test))} are in the training set. "
            "To fix: choose an imbalance factor that leaves some of every class to be held out."
        )
    # The shuffle of each class does not depend on how many are kept, so the first of them are
    # the long-tailed subset and the last ones of a longer selection lie outside it.
    kept = [all_images - held for all_images, held in zip(available, num_test, strict=True)]
    inside = torch.zeros(len(reference.labels), dtype=torch.bool)
    inside[long_tailed_indices(reference.labels, kept)] = True
    return (
        reference.subset(inside.nonzero().flatten()),
        reference.subset((~inside).nonzero().flatten()),
    )
