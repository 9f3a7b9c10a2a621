"""Figure: FID of each shot group against omega for single checkpoints, with intervals (4b)."""

from collections import Counter
from pathlib import Path
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffrop.analysis.data.compare import FAR, broken, enough_samples
from diffrop.analysis.data.words import format_score, score_label
from diffrop.analysis.figures import score_axes, style
from diffrop.csv_cells import csv_text, plain_frame
from diffrop.storage import write_atomically

Dashes = Literal["-", "--", ":", "-."]
DASHES: tuple[Dashes, ...] = ("-", "--", ":", "-.")
"""Of the lines of one form, which have its colour and marker."""
TABLE = "guidance_sweep.csv"
COLUMNS = (
    "checkpoint",
    "form",
    "images_seen",
    "omega",
    "sampler",
    "score",
    "value",
    "low",
    "high",
    "num_samples",
    "extractor",
    "reference",
)
"""Of the table, which has a row for each checkpoint, sampler, omega and score."""


def guidance_sweep_figure(frame: pd.DataFrame) -> Figure:
    """Draw each score of a sweep against omega: a line a checkpoint and sampler, with its band.

    Args:
        frame: one row a checkpoint, sampler, omega and score: form, value, low, high, num_samples.

    Returns:
        axes labelled by score, at most two beside each other.
    """
    enough = enough_samples(frame["num_samples"])
    frame = frame[enough] if enough.any() else frame  # a sweep may be on few samples as a whole
    scores = list(dict.fromkeys(frame["score"]))
    lines = _line_styles(frame)
    num_rows = -(-len(scores) // 2)
    figure, num_beyond = style.new_figure(0.9 + 2.3 * num_rows), 0
    for place, score in enumerate(scores):
        axes = figure.add_subplot(num_rows, min(2, len(scores)), place + 1, label=score)
        part = frame[frame["score"] == score]
        best = part.loc[part.groupby(["checkpoint", "sampler"])["value"].idxmin()]
        far = best[broken(best["value"], times=FAR)]
        beyond = set(zip(far["checkpoint"], far["sampler"], strict=True))
        for (label, sampler), (look, dashes) in lines.items():
            own = part[(part["checkpoint"] == label) & (part["sampler"] == sampler)]
            if (label, sampler) not in beyond:
                _draw(axes, own.sort_values("omega"), look, dashes)
        count = int(part["num_samples"].iloc[0])
        axes.set_title(
            f"{score_label(score)}\nN = {count:,}", fontsize=style.LEGEND_PT, loc="left"
        )
        axes.set_xlabel("guidance scale omega")
        score_axes.widen_scores(axes)
        style.tidy_axes(axes)
        texts = map(format_score, far["value"])
        score_axes.draw_beyond(axes, far["omega"], far["form"], texts)
        num_beyond += len(far)
    figure.axes[0].set_ylabel("FID")
    samplers = frame["sampler"].nunique()
    style.add_legend(
        figure,
        [
            Line2D(
                [],
                [],
                color=look.colour,
                linestyle=dashes,
                marker=look.marker,
                label=f"{label}, {sampler}" if samplers > 1 else label,
            )
            for (label, sampler), (look, dashes) in lines.items()
        ],
    )
    first = frame.iloc[0]
    names = " or ".join(dict.fromkeys(frame["sampler"]))
    seen = ", ".join(f"{images:,}" for images in sorted(set(frame["images_seen"])))
    arrows = "; arrow: the best of a line beyond the axis" if num_beyond else ""
    style.add_caption(
        figure,
        f"FID on {first['extractor']}, {names}, against the {first['reference']}; "
        f"{seen} images seen; bands: 95 % intervals over samples{arrows}",
    )
    return figure


def read_guidance_sweep(folder: Path) -> pd.DataFrame:
    """Read the table that `write_guidance_sweep` left in a folder.

    Raises:
        ValueError: there is none, or it is another table.
    """
    path = folder / TABLE
    if not path.is_file():
        raise ValueError(f"{folder} holds no {TABLE}; allowed: a folder of diffrop study guidance")
    try:
        frame = plain_frame(pd.read_csv(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    missing = [name for name in COLUMNS if name not in frame]
    if missing or frame.empty:
        reason = f"no column {missing[0]!r}" if missing else "no row"
        raise ValueError(f"{path} has {reason}, so it is no sweep of omega")
    return frame


def write_guidance_sweep(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Write a sweep's table and figure into a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / TABLE
    write_atomically(table, csv_text(frame))
    return [table, *style.save_figure(guidance_sweep_figure(frame), folder, "guidance_sweep")]


def _line_styles(frame: pd.DataFrame) -> dict[tuple[str, str], tuple[style.FormStyle, Dashes]]:
    """Return style and dashes of each line, by checkpoint and sampler."""
    styles: dict[tuple[str, str], tuple[style.FormStyle, Dashes]] = {}
    drawn = Counter[str]()
    lines = zip(frame["checkpoint"], frame["sampler"], frame["form"], strict=True)
    for label, sampler, form in dict.fromkeys(lines):
        styles[label, sampler] = style.form_style(form), DASHES[drawn[form] % len(DASHES)]
        drawn[form] += 1
    return styles


def _draw(axes: Axes, own: pd.DataFrame, look: style.FormStyle, dashes: Dashes) -> None:
    axes.fill_between(own["omega"], own["low"], own["high"], color=look.colour, alpha=0.15, lw=0)
    axes.plot(
        own["omega"],
        own["value"],
        color=look.colour,
        marker=look.marker,
        markersize=4,
        linewidth=1.5,
        linestyle=dashes,
    )
