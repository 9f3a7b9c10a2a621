"""Figure: the stored sample grids of the baseline and of the best contrastive trial."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from diffrop.analysis.data.classes import classes_frame
from diffrop.analysis.data.compare import baseline_and_best
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import format_count
from diffrop.analysis.figures import style
from diffrop.record.names import images_of, trial_label

READING = (
    "Samples of the baseline and of the best contrastive trial, from the same noise. "
    "Each column is a class, in label order. The samples are the first ones drawn, at each "
    "trial's own omega. A grid is an impression, not a measurement."
)
MAX_NAMED = 20
"""More classes than these have no names above their columns."""
WIDE = 2.0
"""Grids that are this many times as wide as high stand below each other."""


def applies(study: StudyResults) -> bool:
    """Whether a trial to show has a grid left."""
    return bool(newest_grids(study))


def newest_grids(study: StudyResults) -> list[tuple[pd.Series, Path]]:
    """Return the newest grid of the baseline and of the best trial, as far as they have one."""
    found = [
        (trial, study.folder(int(trial["number"])).grids()) for trial in baseline_and_best(study)
    ]
    return [(trial, grids[-1]) for trial, grids in found if grids]


def sample_grids_figure(study: StudyResults) -> Figure:
    """Draw each grid as it is stored.

    Returns:
        axes "baseline" and "best" with one picture each, as far as they have a grid.
    """
    grids = newest_grids(study)
    if not grids:
        return style.sentence_figure(study, "No complete trial has a sample grid yet.")
    pictures = [_pixels(path) for _, path in grids]
    shape = pictures[0].shape[0] / pictures[0].shape[1]
    num_rows = len(grids) if shape * WIDE <= 1 else 1
    num_columns = len(grids) // num_rows
    height = num_rows * (shape * style.WIDTH_IN / num_columns + 0.45)
    figure = style.new_figure(height + 0.45)
    names = classes_frame(study)["name"].tolist()
    for place, ((trial, _), pixels) in enumerate(zip(grids, pictures, strict=True)):
        label = "baseline" if trial["baseline"] else "best"
        axes = figure.add_subplot(num_rows, num_columns, place + 1, label=label)
        # Without interpolation, a browser enlarges the pixels as they are.
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="none")
        look = style.form_style(str(trial["form"]))
        title = f"{trial_label(trial['number'])}, {look.label}, omega = {trial['omega']:g}"
        axes.set_title(title, fontsize=style.LEGEND_PT, loc="left")
        _name_columns(axes, names, pixels.shape[1])
    seen = " and ".join(dict.fromkeys(format_count(images_of(path)) for _, path in grids))
    style.add_caption(
        figure,
        f"trials scored by {style.caption(study)}",
        f"drawn after {seen} images, from the same noise; one column a class",
    )
    return figure


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def _name_columns(axes: Axes, names: list[str], width: int) -> None:
    """Write the classes below their columns, where they are known and few."""
    axes.tick_params(length=0, labelsize=style.CAPTION_PT, pad=1)
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    if not 0 < len(names) <= MAX_NAMED:
        axes.set_xticks([])
        return
    middles = (np.arange(len(names)) + 0.5) * width / len(names) - 0.5
    axes.set_xticks(middles, names, rotation=90 if max(map(len, names)) > 2 else 0)
