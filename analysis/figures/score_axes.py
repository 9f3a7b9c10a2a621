"""Axes of scores: their scales, and what marks the baseline, the best and what lies beyond."""

from collections.abc import Iterable
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from diffrop.analysis.figures import style

LOG_SPAN = 6.0
"""An axis of scores is logarithmic where the worst is this many times the best."""
BEYOND = 0.975
"""Where along an axis an arrow marks what lies beyond its end."""
LEAST_SPAN = 0.05
"""Share of its values that an axis of scores spans at least, so that ties look like ties."""


def draw_zero(axes: Axes, which: Literal["x", "y"] = "y") -> None:
    """Draw a dashed line across axes of differences to the baseline, where there is none."""
    draw = axes.axvline if which == "x" else axes.axhline
    colour = style.form_style("none").colour
    draw(0, color=colour, linestyle="--", linewidth=1.0, label="no difference")


def draw_ring(
    axes: Axes,
    x: ArrayLike,
    y: ArrayLike,
    colour: str = "black",
    label: str = "best",
) -> None:
    """Draw a ring round each of some points."""
    axes.plot(
        x,
        y,
        linestyle="none",
        marker="o",
        markersize=11,
        markerfacecolor="none",
        markeredgecolor=colour,
        markeredgewidth=1.2,
        label=label,
        clip_on=False,
    )


def draw_estimate(
    axes: Axes,
    row: float,
    value: float,
    ends: tuple[float | None, float | None],
    form: str,
    label: str,
    size: float = 8,
) -> None:
    """Draw a score in a row of axes, with its interval where both ends of that are known.

    Args:
        axes: the score is its x.
        row: its y.
        value: the score, or a difference.
        ends: of the interval; None or NaN where unknown.
        form: gives colour and marker.
        label: of the marker.
        size: of the marker, in points.
    """
    look = style.form_style(form)
    known = [end for end in ends if end is not None and pd.notna(end)]
    if len(known) == len(ends):
        axes.plot(known, [row] * 2, color=look.colour, linewidth=1.8, label="interval")
    axes.plot(
        [value],
        [row],
        linestyle="none",
        marker=look.marker,
        markersize=size,
        color=look.colour,
        markeredgecolor="white",
        markeredgewidth=0.8,
        label=label,
    )


def draw_beyond(
    axes: Axes,
    places: pd.Series,
    forms: pd.Series,
    texts: Iterable[str],
    which: Literal["x", "y"] = "y",
) -> None:
    """Mark scores that lie beyond the end of their axis by an arrow at it, with their numbers.

    Args:
        axes: the score is its x or y.
        places: on the other axis.
        forms: give the arrows their colours.
        texts: the scores, as far as they are not written elsewhere.
        which: the axis of the score.
    """
    is_x = which == "x"
    transform = axes.get_yaxis_transform() if is_x else axes.get_xaxis_transform()
    for place, form, text in zip(places, forms, texts, strict=True):
        point = (BEYOND, place) if is_x else (place, BEYOND)
        axes.plot(
            [point[0]],
            [point[1]],
            transform=transform,
            marker=">" if is_x else "^",
            markersize=6,
            color=style.form_style(str(form)).colour,
            linestyle="none",
            label="beyond",
        )
        axes.annotate(
            text,
            point,
            xycoords=transform,
            xytext=(-6, 0) if is_x else (0, -5),
            textcoords="offset points",
            ha="right" if is_x else "center",
            va="center" if is_x else "top",
            fontsize=style.CAPTION_PT,
        )


def widen_scores(axes: Axes, which: Literal["x", "y"] = "y") -> None:
    """Keep a linear score axis from blowing up differences that are tiny next to the scores."""
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    missing = LEAST_SPAN * abs(low + high) / 2 - (high - low)
    if missing > 0:
        set_limits = axes.set_xlim if which == "x" else axes.set_ylim
        set_limits(low - missing / 2, high + missing / 2)


def scale_scores(
    axes: Axes, values: pd.Series, which: Literal["x", "y"] = "y", log_span: float = LOG_SPAN
) -> None:
    """Make an axis that has its scores logarithmic if the worst is far off, else widen it."""
    if len(values) and values.min() > 0 and values.max() > log_span * values.min():
        style.set_log(axes, which)
    else:
        widen_scores(axes, which)
