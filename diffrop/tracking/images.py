"""Sample grids as the images that MLflow's UI shows with a slider over their steps."""

import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from mlflow.entities import FileInfo
from PIL import Image, UnidentifiedImageError

from diffrop.tracking.files import images_of

FOLDER = "images"
LOGGED_IMAGES = {"mlflow.loggedImages": "True"}
"""The tag by which the UI knows that a run has images."""
_KEY = "samples"
_PREVIEW_PIXELS = 256


def logged_images(files: Iterable[FileInfo]) -> dict[int, tuple[str, int]]:
    """Return name, without ".png", and size of the image of each step that has its preview."""
    sizes = {Path(file.path).name: int(file.file_size or 0) for file in files}
    found = {}
    for name, size in sizes.items():
        stem, _, end = name.rpartition(".")
        if end == "png" and f"{stem}+compressed.webp" in sizes:
            found[int(stem.split("+")[2])] = stem, size
    return found


def write_image(grid: Path, folder: Path, known: tuple[str, int] | None) -> bool:
    """Write a grid and its preview under the names that the UI reads; False if MLflow has it.

    Args:
        grid: a PNG named by its images seen, which become the step.
        folder: to write into.
        known: name and size of what MLflow has at this step; it is replaced.

    Raises:
        ValueError: the file is no image.
    """
    status, step = grid.stat(), images_of(grid)
    if known is not None and known[1] == status.st_size:
        return False
    # MLflow's own form of the name: key, step and time, and something unique.
    unique = uuid.uuid5(uuid.NAMESPACE_OID, f"{grid.name} {status.st_mtime_ns}")
    written_ms = status.st_mtime_ns // 1_000_000
    stem = known[0] if known else f"{_KEY}+step+{step}+timestamp+{written_ms}+{unique}"
    try:
        with Image.open(grid) as image:
            preview = image.convert("RGB")
    except UnidentifiedImageError as error:
        raise ValueError(f"{grid} is no image ({error})") from error
    preview.thumbnail((_PREVIEW_PIXELS, _PREVIEW_PIXELS))
    preview.save(folder / f"{stem}+compressed.webp")
    shutil.copyfile(grid, folder / f"{stem}.png")
    return True
