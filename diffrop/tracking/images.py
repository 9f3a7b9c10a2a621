"""Sample grids as the images that MLflow's UI shows with a slider over their steps."""

import shutil
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlflow.entities import FileInfo
from PIL import Image, UnidentifiedImageError

from diffrop.record.names import images_of
from diffrop.tracking.mlflow_private import PREVIEW_END, image_stem, key_and_step

BY_STEP = "samples"
FINAL = "final samples"
"""At step 0, where the UI's slider begins: the trials' last grids beside each other."""
_PREVIEW_PIXELS = 256


def logged_images(files: Iterable[FileInfo]) -> dict[tuple[str, int], tuple[str, int]]:
    """Return what MLflow has of the images whose preview is there too.

    Returns:
        by key and step, the name without ".png", and the size.
    """
    sizes = {Path(file.path).name: int(file.file_size or 0) for file in files}
    found = {}
    for name, size in sizes.items():
        stem, _, end = name.rpartition(".")
        if end == "png" and stem + PREVIEW_END in sizes:
            found[key_and_step(stem)] = stem, size
    return found


def write_image(
    grid: Path, folder: Path, key: str, found: Mapping[tuple[str, int], tuple[str, int]]
) -> bool:
    """Write a grid and its preview under the names that the UI reads; False if MLflow has it.

    Args:
        grid: a PNG named by its images seen.
        folder: to write into.
        key: `BY_STEP` takes the images seen as the step, `FINAL` has none.
        found: what `logged_images` returned; another image of the same step is replaced.

    Raises:
        ValueError: the file is no image.
    """
    status, step = grid.stat(), (images_of(grid) or 0) if key == BY_STEP else 0
    stem, size = found.get((key, step), ("", 0))
    if size == status.st_size:
        return False
    unique = uuid.uuid5(uuid.NAMESPACE_OID, f"{key} {grid.name} {status.st_mtime_ns}")
    written_ms = status.st_mtime_ns // 1_000_000
    stem = stem or image_stem(key, step, written_ms, unique)
    try:
        with Image.open(grid) as image:
            preview = image.convert("RGB")
    except UnidentifiedImageError as error:
        raise ValueError(f"{grid} is no image ({error})") from error
    preview.thumbnail((_PREVIEW_PIXELS, _PREVIEW_PIXELS))
    preview.save(folder / (stem + PREVIEW_END))
    shutil.copyfile(grid, folder / f"{stem}.png")
    return True
