"""Sample grids as the images that MLflow's UI shows with a slider over their steps."""

from collections.abc import Iterable
from pathlib import Path

from mlflow.entities import FileInfo
from PIL import Image, UnidentifiedImageError

from diffrop.record.names import images_of
from diffrop.tracking.mlflow_private import PREVIEW_END, image_identity

BY_RUNG = "samples/by rung"
"""At step = images seen."""
FINAL = "samples/final"
"""At step 0, where the UI's slider begins: the trials' last grids beside each other."""
_EARLIER = {"samples": BY_RUNG, "final samples": FINAL}
"""Keys that earlier versions gave."""
Shown = tuple[str, int, int]
"""Key, step and time in ms of an image."""


def shown_as(grid: Path, key: str) -> Shown:
    """Return what tells an image in MLflow from all others of its run.

    Args:
        grid: a PNG named by its images seen.
        key: `BY_RUNG` or `FINAL`.
    """
    step = (images_of(grid) or 0) if key == BY_RUNG else 0
    return key, step, grid.stat().st_mtime_ns // 1_000_000


def logged_images(files: Iterable[FileInfo]) -> dict[Shown, str]:
    """Return the path of each image that MLflow has with its preview."""
    paths = {file.path for file in files}
    found = {}
    for path in sorted(paths):
        stem, _, end = path.rpartition(".")
        if end == "png" and stem + PREVIEW_END in paths:
            key, step, written_ms = image_identity(path)
            found[_EARLIER.get(key, key), step, written_ms] = path
    return found


def read_grid(grid: Path) -> Image.Image:
    """Read a sample grid; ValueError if the file is no image."""
    try:
        with Image.open(grid) as image:
            return image.convert("RGB")
    except UnidentifiedImageError as error:
        raise ValueError(f"{grid} is no image ({error})") from error
