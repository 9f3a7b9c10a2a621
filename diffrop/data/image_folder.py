"""A folder with a folder of images for each class, read whole or refused with a hint."""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffrop.activity import Tell, counted, untold
from diffrop.config import MAX_IMAGE_PIXELS
from diffrop.data.image_file import SUFFIXES, UnreadableImageError, read_image
from diffrop.data.labelled_images import LabelledImages

SYSTEM_NAMES = ("__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir", "$RECYCLE.BIN", "lost+found")
"""What systems leave beside images; they also hide names that begin with a dot."""
SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")
"""Names of folders that are parts of a data set, not classes; to train on, the first that is."""
MOST_NAMED = 3


def read_folder(
    root: str | None,
    name: str,
    size: int,
    mode: str = "RGB",
    *,
    skip_damaged: bool = False,
    max_pixels: int = MAX_IMAGE_PIXELS,
    of_samples: bool = False,
    tell: Tell = untold,
) -> LabelledImages:
    """Read the images of a folder's class folders, in the order of their names.

    Hidden files and what systems leave behind are passed over; other files that are no images
    are left out and counted in the notes.

    Args:
        root: the folder.
        name: what it is, as in "data root"; with a hyphen it is the option.
        size: height and width in pixels.
        mode: RGB, or L for grey.
        skip_damaged: leave out images that cannot be read.
        max_pixels: that an image in a file may have.
        of_samples: whether a model drew them: then images of another size count as ones that
            cannot be read, and numbers in names are ordered as such, so that 2.png is before
            10.png. Images to train on are resized, and their names are plain texts, for their
            order is part of what a training is.
        tell: is told how many of the files are read.

    Raises:
        ValueError: there is no such folder, it is of another layout, a class has no image, or an
            image cannot be read.
    """
    option = f"--{name.replace(' ', '-')}"
    if root is None or not Path(root).is_dir():
        raise ValueError(
            f"{name} is {root!r}. To fix: name a folder with {option} that holds one folder of "
            "images for each class."
        )
    order = _by_number if of_samples else None
    entries = _entries(Path(root), order)
    folders = [path for path in entries if path.is_dir()]
    if not folders:
        raise ValueError(f"{root!r} holds no folders; allowed: one folder for each class")
    inside = {folder: _entries(folder, order) for folder in folders}
    _check_layout(Path(root), option, inside)
    left_out = [path for path in entries if path not in inside]
    images: list[np.ndarray] = []
    counts: list[int] = []
    damaged: list[str] | None = [] if skip_damaged else None
    look = counted(tell, f"reading the images of {root}", sum(map(len, inside.values())))
    for folder, files in inside.items():
        found = [path for path in files if path.suffix.lower() in SUFFIXES]
        left_out += [path for path in files if path.suffix.lower() not in SUFFIXES]
        read = []
        for path in found:
            look()
            read.append(_read(path, size, mode, max_pixels, damaged, not of_samples))
        kept = [image for image in read if image is not None]
        if not kept:
            sort = "no image that can be read" if found else "no image"
            raise ValueError(
                f"class folder {str(folder)!r} holds {sort}; allowed: {', '.join(SUFFIXES)}"
            )
        images += kept
        counts.append(len(kept))
    pixels = torch.from_numpy(np.stack(images))
    stacked = pixels.permute(0, 3, 1, 2).contiguous() if mode == "RGB" else pixels.unsqueeze(1)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    notes = _notes(Path(root), left_out, damaged or [], len(images))
    return LabelledImages(stacked, labels, tuple(map(_class_name, folders)), notes)


def _by_number(path: Path) -> tuple[list[str | int], str]:
    """Return a key that orders the numbers in names by their value; equal ones by the name."""
    parts = re.split("([0-9]+)", path.name)  # texts, and between each two a number
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], path.name


def _entries(folder: Path, order: Callable[[Path], Any] | None) -> list[Path]:
    """Return what a folder holds, by name, without what systems leave there."""
    try:
        found = sorted(folder.iterdir(), key=order)
    except OSError as error:
        raise ValueError(f"folder {str(folder)!r} cannot be read ({error.strerror})") from error
    return [p for p in found if not p.name.startswith(".") and p.name not in SYSTEM_NAMES]


def _class_name(folder: Path) -> str:
    """Return a folder's name, in which bytes that are no UTF-8 stand as escapes."""
    return os.fsencode(folder.name).decode("utf-8", "backslashreplace")


def _check_layout(root: Path, option: str, inside: dict[Path, list[Path]]) -> None:
    """Refuse class folders that hold folders, with a hint at what may be meant."""
    nested = {
        folder: deeper
        for folder, files in inside.items()
        if (deeper := [path for path in files if path.is_dir()])
    }
    if not nested:
        return
    folder, (first, *_) = next(iter(nested.items()))
    splits = {path.name.lower(): path for path in nested if path.name.lower() in SPLITS}
    if splits:
        choice = next(splits[split] for split in SPLITS if split in splits)
        raise ValueError(
            f"{str(root)!r} holds {_named([path.name for path in inside])}, which hold the "
            f"classes. To fix: name one of them, such as {option} {choice}."
        )
    raise ValueError(
        f"class folder {str(folder)!r} holds the folder {first.name!r}; allowed: images alone. To "
        "fix: move its images up, or name the folder whose own folders hold the images of one "
        f"class each with {option}."
    )


def _read(
    path: Path, size: int, mode: str, max_pixels: int, damaged: list[str] | None, resized: bool
) -> np.ndarray | None:
    """Read an image; None for one that cannot be read, if there is a list that is to name it."""
    try:
        return read_image(path, size, mode, max_pixels, resized=resized)
    except UnreadableImageError as error:
        if damaged is None:
            fix = "replace it"
            if resized:
                fix += ", or leave such images out with --skip-damaged"
            raise ValueError(f"{error}. To fix: {fix}.") from error
        damaged.append(str(error))
        return None


def _notes(root: Path, left_out: Sequence[Path], damaged: list[str], num: int) -> tuple[str, ...]:
    notes = []
    if left_out:
        kinds = Counter(path.suffix.lower() or "no suffix" for path in left_out)
        named = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
        notes.append(
            f"Left out of {str(root)!r}: {len(left_out):,} file(s) that are not read as images of "
            f"a class ({named})."
        )
    if damaged:
        notes.append(
            f"Left out of {str(root)!r}: {len(damaged):,} damaged image(s) of "
            f"{num + len(damaged):,}: {_named(damaged, '; ')}."
        )
    return tuple(notes)


def _named(texts: Sequence[str], separator: str = ", ") -> str:
    """Return the first of some texts, and how many more there are."""
    more = len(texts) - MOST_NAMED
    rest = [f"and {more:,} more"] if more > 0 else []
    return separator.join([*texts[:MOST_NAMED], *rest])
