"""The figures of RESULTS.md."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.evidence.arms import Setting
from benchmarks.evidence.claims import LOWER_IS_BETTER, Comparison, Read
from benchmarks.evidence.compare import (
    Estimate,
    at_best_omega,
    rows_of,
    side_of,
    whole_rows,
)
from benchmarks.evidence.stages import CURVE, DDPM, EXPONENTIAL
from diffrop.analysis.data.words import score_label
from diffrop.analysis.figures import score_axes, style

COLOURS = {"lower": "#0072B2", "higher": "#D55E00", "open": "#6b7280"}
WORDS = {"lower": "interval below 0", "higher": "interval above 0", "open": "0 within it"}
ROW_IN = 0.23
FOREST_IN = 6.4
FAR, FAR_OF_FEW = 3.0, 10.0
"""Times the median of how far differences reach, in the summary and where they are few; one that
reaches beyond is written at the edge."""


def forest_figure(read: Read, groups: Sequence[tuple[str, Sequence[Comparison]]]) -> Figure:
    """Draw the FID differences of all comparisons, each with its interval over seeds.

    Args:
        read: returns the table of a setting.
        groups: heading, and comparisons; those of other scores than FID are left out.
    """
    rows: list[tuple[str, Estimate | None]] = []
    for heading, comparisons in groups:
        fids = [one for one in comparisons if one.score in LOWER_IS_BETTER]
        rows += [(heading, None), *((one.words, one.estimate(read)) for one in fids)]
    figure = style.new_figure(1.0 + ROW_IN * len(rows))
    figure.set_figwidth(FOREST_IN)
    axes = figure.add_subplot(label="differences")
    _limit(axes, [_reach(estimate) for _, estimate in rows if estimate is not None], FAR)
    for row, (_, estimate) in enumerate(rows):
        if estimate is not None:
            _draw_estimate(axes, row, estimate)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [words for words, _ in rows])
    style.tidy_categories(axes)
    for tick, (_, estimate) in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_fontsize(style.CAPTION_PT)
        tick.set_fontweight("bold" if estimate is None else "normal")
    score_axes.draw_zero(axes, "x")
    axes.set_xlabel("difference of FID; lower is better")
    sides = [Line2D([], [], color=COLOURS[s], marker="o", label=WORDS[s]) for s in COLOURS]
    style.add_legend(figure, sides)
    return figure


def _draw_estimate(axes: Axes, row: float, estimate: Estimate) -> None:
    """Draw an estimate in its row; one beyond the axis is an arrow with its numbers."""
    colour, (low, high) = COLOURS[side_of(estimate)], axes.get_xlim()
    if low <= estimate.mean <= high:
        ends = [estimate.low, estimate.high]
        axes.plot(ends, [row] * 2, color=colour, linewidth=1.8, solid_capstyle="butt")
        axes.plot([estimate.mean], [row], marker="o", markersize=5, color=colour)
        return
    right = estimate.mean > high
    end, marker = (high, ">") if right else (low, "<")
    axes.plot([end], [row], marker=marker, markersize=5, color=colour, clip_on=False)
    axes.annotate(
        f"{estimate.mean:+.1f} [{estimate.low:+.1f}, {estimate.high:+.1f}]",
        (end, row),
        xytext=(-6 if right else 6, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center",
        fontsize=style.CAPTION_PT,
        color=colour,
        bbox=style.ON_GRID,
    )


def _reach(estimate: Estimate) -> float:
    return max(abs(estimate.low), abs(estimate.high))


def _limit(axes: Axes, reaches: Sequence[float], far: float) -> None:
    """Let the axis hold the differences that reach at most `far` times as far as the median."""
    reach = pd.Series(reaches)
    held = reach[reach <= far * reach.median()]
    most = 1.08 * (float(held.max()) if held.any() else 1.0)
    axes.set_xlim(-most, most)


def seeds_figure(read: Read, comparisons: Sequence[Comparison]) -> Figure:
    """Draw the difference at each seed, and their mean with its interval, a row a comparison."""
    figure = style.new_figure(0.9 + 2 * ROW_IN * len(comparisons))
    axes = figure.add_subplot(label="seeds")
    factors = [1 if one.score in LOWER_IS_BETTER else 100 for one in comparisons]
    drawn = [
        factor * comparison.by_seed(read)
        for comparison, factor in zip(comparisons, factors, strict=True)
    ]
    means = [Estimate.of(values) for values in drawn]
    reaches = [
        max(_reach(mean), float(values.abs().max()))
        for mean, values in zip(means, drawn, strict=True)
    ]
    _limit(axes, reaches, FAR_OF_FEW)
    for row, (values, mean, reach) in enumerate(zip(drawn, means, reaches, strict=True)):
        _draw_estimate(axes, row - 0.12, mean)
        if reach <= axes.get_xlim()[1]:
            axes.plot(values, [row + 0.18] * len(values), "o", markersize=3, color=style.NEUTRAL)
    axes.set_ylim(len(comparisons) - 0.5, -0.6)
    axes.set_yticks(range(len(comparisons)), [one.words for one in comparisons])
    style.tidy_categories(axes)
    axes.tick_params(axis="y", labelsize=style.CAPTION_PT)
    score_axes.draw_zero(axes, "x")
    fid = all(factor == 1 for factor in factors)
    axes.set_xlabel("difference of FID" if fid else "difference in points of accuracy")
    figure.set_figwidth(6.0)
    return figure


def curve_figure(read: Read) -> Figure:
    """Draw the baseline's FIDs over the images seen: a line a seed, and their mean."""
    frame = read(CURVE.name)
    own = at_best_omega(rows_of(frame, DDPM))
    figure = style.new_figure(2.6)
    for place, score in enumerate(("fid/all", "fid/few")):
        axes = figure.add_subplot(1, 2, place + 1, label=score)
        for _, part in own.groupby("seed"):
            axes.plot(part["images"], part[score], color=style.NEUTRAL, linewidth=0.8)
        mean = own.groupby("images")[score].mean()
        axes.plot(mean.index, mean, color="black", marker="s", markersize=4)
        axes.set_title(score_label(score), fontsize=style.LEGEND_PT, loc="left")
        axes.set_yscale("log")
        style.tidy_axes(axes)
        style.set_log(axes, "x")
        style.set_log(axes, "y")
        seen = sorted(own["images"].unique())
        axes.set_xticks(seen, [f"{images / 1000:.0f}k" for images in seen])
        axes.set_xlabel("images seen")
    figure.axes[0].set_ylabel("FID")
    lines = [
        Line2D([], [], color=style.NEUTRAL, label="one seed"),
        Line2D([], [], color="black", marker="s", label="mean"),
    ]
    style.add_legend(figure, lines)
    return figure


def omega_figure(read: Read, setting: Setting) -> Figure:
    """Draw FID over the guidance scale, and its differences over the same seeds."""
    frame = read(setting.name)
    figure = style.new_figure(2.6)
    figure.set_figwidth(6.0)
    levels, paired = (figure.add_subplot(1, 2, place, label=str(place)) for place in (1, 2))
    rows = {arm.name: whole_rows(frame, arm) for arm in (DDPM, EXPONENTIAL)}
    shared = set.intersection(*(set(own["seed"]) for own in rows.values()))
    rows = {name: own[own["seed"].isin(shared)] for name, own in rows.items()}
    for (name, own), form in zip(rows.items(), ("none", "exponential"), strict=True):
        look = style.form_style(form)
        _draw_band(levels, _by_omega(own, "fid/all"), look.colour, look.marker, name)
    theirs, ours = (own.set_index(["seed", "omega"]) for own in rows.values())
    for score, marker, colour in (("fid/all", "o", "#0072B2"), ("fid/few", "^", "#D55E00")):
        difference = (ours[score] - theirs[score]).reset_index()
        _draw_band(paired, _by_omega(difference, score), colour, marker, score_label(score))
    score_axes.draw_zero(paired)
    low, high = paired.get_ylim()
    paired.set_ylim(low, high + 0.35 * (high - low))  # room for the legend
    levels.set_title("FID of all classes", fontsize=style.LEGEND_PT, loc="left")
    paired.set_title(f"{EXPONENTIAL.name} less DDPM", fontsize=style.LEGEND_PT, loc="left")
    for axes in (levels, paired):
        axes.set_xlabel("guidance scale omega")
        axes.legend(frameon=False, fontsize=style.CAPTION_PT)
        style.tidy_axes(axes)
    levels.set_ylabel("FID")
    return figure


def _by_omega(rows: pd.DataFrame, score: str) -> dict[float, Estimate]:
    omegas = sorted(rows["omega"].unique().tolist())
    return {omega: Estimate.of(rows.loc[rows["omega"] == omega, score]) for omega in omegas}


def _draw_band(
    axes: Axes, found: dict[float, Estimate], colour: str, marker: str, label: str
) -> None:
    estimates = list(found.values())
    low, high = [one.low for one in estimates], [one.high for one in estimates]
    axes.fill_between(list(found), low, high, color=colour, alpha=0.15, lw=0)
    means = [one.mean for one in estimates]
    axes.plot(list(found), means, color=colour, marker=marker, markersize=4, label=label)
