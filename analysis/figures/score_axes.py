"""Axes of scores: their scales, and what marks the baseline, the best and what lies beyond."""

from collections.abc import Iterable
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from diffrop.analysis.figures import style
from diffrop.analysis.figures.wrapping import text_width_in

LOG_SPAN = 6.0
"""An axis of scores is logarithmic where the worst is this many times the best."""
BEYOND = 0.975
"""Where along an axis an arrow marks what lies beyond its end."""
ARROWS = {("x", False): ">", ("x", True): "<", ("y", False): "^", ("y", True): "v"}
ARROW_IN, LETTERS_IN = 0.14, 0.12
"""Room of an arrow and its gaps, and height of the number beside it."""
KEPT_SHARE = {"x": 0.5, "y": 0.7}
"""Of an axis' length, what labels, legend and caption leave it at least."""
MARGIN = 0.1
"""On both sides of what is drawn, as a share of its span."""
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
    places: Iterable[float],
    forms: Iterable[str],
    texts: Iterable[str],
    which: Literal["x", "y"] = "y",
    *,
    below: bool = False,
    has_room: bool = False,
) -> None:
    """Mark scores that lie beyond the end of their axis by an arrow at it, with their numbers.

    To be called last: the axis grows, so that the numbers lie beside all that is on it.

    Args:
        axes: the score is its x or y.
        places: on the other axis; equal ones share an arrow.
        forms: give the arrows their colours.
        texts: the scores, as far as they are not written elsewhere.
        which: the axis of the score.
        below: whether they lie beyond its low end.
        has_room: whether an axis that shares its limits has grown already.
    """
    found: dict[float, list[tuple[str, str]]] = {}
    for place, form, text in zip(places, forms, texts, strict=True):
        found.setdefault(place, []).append((form, text))
    written = {place: together([text for _, text in own]) for place, own in found.items()}
    if found and not has_room:
        _make_room(axes, written.values(), which, below)
    is_x, end = which == "x", 1 - BEYOND if below else BEYOND
    transform = axes.get_yaxis_transform() if is_x else axes.get_xaxis_transform()
    inward = 1 if below else -1
    for place, own in found.items():
        point = (end, place) if is_x else (place, end)
        same = len({form for form, _ in own}) == 1
        axes.plot(
            [point[0]],
            [point[1]],
            transform=transform,
            marker=ARROWS[which, below],
            markersize=6,
            color=style.form_style(own[0][0]).colour if same else style.NEUTRAL,
            linestyle="none",
            label="beyond",
        )
        if written[place]:
            axes.annotate(
                written[place],
                point,
                xycoords=transform,
                xytext=(6 * inward, 0) if is_x else (0, 5 * inward),
                textcoords="offset points",
                ha=("left" if below else "right") if is_x else "center",
                va="center" if is_x else ("bottom" if below else "top"),
                fontsize=style.CAPTION_PT,
                bbox=style.ON_GRID,
            )


def together(texts: list[str]) -> str:
    """Return the numbers of one place, by their ends where they are more than two."""
    texts = [text for text in texts if text]
    return ", ".join(texts) if len(texts) < 3 else f"{texts[0]} to {texts[-1]} ({len(texts)})"


def _make_room(axes: Axes, texts: Iterable[str], which: Literal["x", "y"], below: bool) -> None:
    """Lengthen an axis by the room of an arrow and the longest of some numbers beside it."""
    is_x = which == "x"
    axis = axes.xaxis if is_x else axes.yaxis
    widest = max((text_width_in(text, style.CAPTION_PT) for text in texts), default=0.0)
    figure = axes.get_figure(root=True)
    assert figure is not None  # it is drawn
    width, height = figure.get_size_inches() * axes.get_position().size
    length = KEPT_SHARE[which] * (width if is_x else height)
    share = min(0.5, (ARROW_IN + (widest if is_x else LETTERS_IN)) / length)
    scale = axis.get_transform()
    low, high = scale.transform(axes.get_xlim() if is_x else axes.get_ylim())
    more = (high - low) * share / (1 - share)
    ends = scale.inverted().transform([low - more * below, high + more * (not below)])
    (axes.set_xlim if is_x else axes.set_ylim)(*map(float, ends))


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
