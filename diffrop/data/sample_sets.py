"""Labelled images on disk as other tools write and read them: class folders, and `.npz`.

An `.npz` has guided-diffusion's convention (Dhariwal and Nichol, 2021): `arr_0` holds the images,
uint8 (N, H, W, C), and `arr_1` their labels (N,). Both keep the pixels of drawn images exactly.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffrop.activity import Tell, counted, untold
from diffrop.data.datasets import Dataset
from diffrop.data.image_folder import read_folder
from diffrop.data.labelled_images import LabelledImages
from diffrop.npz_file import read_arrays
from diffrop.storage import written_atomically

NPZ = "an .npz with arr_0, uint8 (N, H, W, C), and arr_1, N whole numbers, the labels"
MIN_PER_CLASS = 2
"""Samples of each class: fewer have no spread within the class."""
MOST_NAMED = 5


def folder_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return a folder's name for each class that every file system takes, all of them distinct."""
    names = tuple(re.sub(r"[^\w.-]", "_", name)[:60] for name in class_names)
    usable = all(name.strip(".") for name in names)
    if usable and len({name.lower() for name in names}) == len(names):
        return names
    return tuple(f"{label:04d}-{name}" for label, name in enumerate(names))


def write_class_folders(samples: LabelledImages, out: Path, tell: Tell = untold) -> None:
    """Write a folder of PNGs for each class that has images, numbered in their order.

    How far it is, is told of every image.
    """
    folders = folder_names(samples.class_names)
    look = counted(tell, f"writing {len(samples.labels):,} images", len(samples.labels))
    for number, (image, label) in enumerate(zip(samples.images, samples.labels, strict=True)):
        look()
        folder = out / folders[int(label)]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = image.permute(1, 2, 0).squeeze(-1).numpy()
        Image.fromarray(pixels).save(folder / f"{number:06d}.png")


def write_npz(samples: LabelledImages, path: Path) -> None:
    """Write images and labels as one `.npz`, whole or not at all."""
    images, labels = samples.images.permute(0, 2, 3, 1).numpy(), samples.labels.numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez(file, images, labels)


def read_samples(path: Path, dataset: Dataset, tell: Tell = untold) -> LabelledImages:
    """Read images that are to be scored against a data set.

    Args:
        path: a folder with a folder of images for each class, named like the class or numbered by
            its label; or an `.npz`.
        dataset: whose classes and image shape they have.
        tell: is told how far it is.

    Returns:
        The images with the labels of the data set.

    Raises:
        ValueError: there is no such file, it has another format, size or class, or too few images
            of a class.
    """
    read = _read_class_folders if path.is_dir() else _read_npz
    found = read(path, dataset, tell)
    counts = torch.bincount(found.labels, minlength=dataset.num_classes).tolist()
    scarce = [
        f"{name} {count}"
        for name, count in zip(dataset.train.class_names, counts, strict=True)
        if count < MIN_PER_CLASS
    ]
    if scarce:
        raise ValueError(
            f"{str(path)!r} holds too few images of: {_listed(scarce)}; allowed: at least "
            f"{MIN_PER_CLASS} of each of the {len(counts)} classes of {dataset.name}"
        )
    return found


def _read_class_folders(path: Path, dataset: Dataset, tell: Tell) -> LabelledImages:
    channels, height, _ = dataset.image_shape
    mode = "L" if channels == 1 else "RGB"
    _labels_of([entry.name for entry in sorted(path.iterdir()) if entry.is_dir()], path, dataset)
    found = read_folder(str(path), "samples", height, mode, of_samples=True, tell=tell)
    labels = _labels_of(found.class_names, path, dataset)
    return LabelledImages(
        found.images, labels[found.labels], dataset.train.class_names, found.notes
    )


def _labels_of(folders: Iterable[str], path: Path, dataset: Dataset) -> Tensor:
    """Return the label for which each class folder stands.

    Raises:
        ValueError: a folder is of no class, or two are of one.
    """
    names = dataset.train.class_names
    known = {str(label): label for label in range(len(names))}
    for spelling in (folder_names(names), names):  # a class whose name is a number goes first
        known |= {name: label for label, name in enumerate(spelling)}
    asked = [name for name in folders if not name.startswith(".")]
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise ValueError(
            f"{str(path)!r} holds folders of no class of {dataset.name}: {_listed(unknown)}; "
            f"allowed: {_listed(names)}, or 0 to {len(names) - 1}"
        )
    labels = [known[name] for name in asked]
    if len(set(labels)) < len(labels):
        twice = [
            name for name, label in zip(asked, labels, strict=True) if labels.count(label) > 1
        ]
        raise ValueError(
            f"{str(path)!r} holds several folders of one class: {_listed(twice)}; allowed: one "
            "folder for each class"
        )
    return torch.tensor(labels)


def _read_npz(path: Path, dataset: Dataset, tell: Tell) -> LabelledImages:
    tell(f"reading {path}", None)
    arrays = read_arrays(path, f"a folder with a folder of images for each class, or {NPZ}")
    images, labels = arrays.get("arr_0"), arrays.get("arr_1")
    if images is None or labels is None:
        missing = "images (arr_0)" if images is None else "labels (arr_1)"
        held = ", ".join(arrays) or "nothing"
        raise ValueError(f"{str(path)!r} has no {missing}, it holds {held}; allowed: {NPZ}")
    channels, height, width = dataset.image_shape
    shape = (height, width, channels)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
        raise ValueError(
            f"{str(path)!r} has images {images.dtype} {images.shape}; allowed: uint8 "
            f"(N, {height}, {width}, {channels}), the shape of {dataset.name}"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{str(path)!r} has labels {labels.dtype} {labels.shape} of {len(images)} images; "
            f"allowed: {NPZ}"
        )
    most = dataset.num_classes - 1
    wrong = sorted({int(label) for label in np.unique(labels) if not 0 <= label <= most})
    if wrong:
        raise ValueError(
            f"{str(path)!r} has labels of no class of {dataset.name}: "
            f"{_listed(map(str, wrong))}; allowed: 0 to {most}"
        )
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    # One channel is contiguous in both orders of memory, and convolutions round by the strides.
    pixels = pixels.reshape(-1).view(len(images), channels, height, width)
    numbers = torch.from_numpy(labels.astype(np.int64))
    return LabelledImages(pixels, numbers, dataset.train.class_names)


def _listed(texts: Iterable[str]) -> str:
    """Return the first of some texts, and how many more there are."""
    found = list(texts)
    more = [f"and {len(found) - MOST_NAMED:,} more"] if len(found) > MOST_NAMED else []
    return ", ".join([*found[:MOST_NAMED], *more])
