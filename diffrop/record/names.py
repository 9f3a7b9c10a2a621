"""The short names of trials and retrainings, and the names of files by images seen."""

import re
from pathlib import Path

LABEL = re.compile(r"t(\d{3,})(?:-s(\d+))?")
IMAGES = re.compile(r"images_(\d{12,})")
TRAINING_LINK = "training"
"""In the folder of a trial, the link to its training."""


def trial_label(number: int, seed: int | None = None) -> str:
    """Return the short name of a trial, t007, or of its retraining with a fresh seed, t007-s1."""
    return f"t{number:03d}" + ("" if seed is None else f"-s{seed}")


def parse_label(label: str) -> tuple[int, int | None] | None:
    """Return the number and the seed that a short name gives; None if it is none."""
    found = LABEL.fullmatch(label)
    if found is None:
        return None
    return int(found[1]), None if found[2] is None else int(found[2])


def images_name(images_seen: int, suffix: str) -> str:
    """Return the name of a file that belongs to so many images seen; names sort by them."""
    return f"images_{images_seen:012d}{suffix}"


def files_by_images(folder: Path, suffix: str) -> list[Path]:
    """Return the files of a folder that `images_name` names, by images seen."""
    found = (path for path in folder.glob(f"images_*{suffix}") if images_of(path) is not None)
    return sorted(found, key=lambda path: images_of(path) or 0)


def images_of(path: Path) -> int | None:
    """Return the images seen that a file's name gives; None if it gives none."""
    found = IMAGES.fullmatch(path.stem)
    return None if found is None else int(found[1])
