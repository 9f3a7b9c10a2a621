"""Figure: how strong the contrastive term was next to the DDPM loss, against tau_0."""

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures import style

READING = (
    "The norm of the contrastive loss's gradient over that of all other losses (pcl/grad_ratio). "
    "Markers are the median over a trial's training, bars go from the 10th to the 90th "
    "percentile. Open markers are trials that did not complete. The paper's formula is weak by "
    "construction: a trial far below the shaded band could hardly change anything (a wrong "
    "setting); one inside it that still scores like the baseline suggests that the loss has no "
    "effect. A ratio of 0 means that the loss had no gradient; it is drawn at the lower edge."
)

MEASURE = "pcl/grad_ratio"
USEFUL = (0.01, 0.1)
"""Shares of the DDPM gradient at which the design expects the term to matter without ruling."""


MIN_TRIALS = 3
"""Fewer trials show no course over tau_0."""


def applies(study: StudyResults) -> bool:
    """Return whether several trials logged the ratio."""
    return int((gradient_ratios(study)["tau_0"] > 0).sum()) >= MIN_TRIALS


def gradient_ratio_figure(study: StudyResults) -> Figure:
    """Draw pcl/grad_ratio against tau_0 of every trial that logged it, on two log axes.

    Returns:
        one axes, with a line of markers for the complete and one for the other trials of a form.
    """
    ratios = gradient_ratios(study)
    ratios = ratios[ratios["tau_0"] > 0]
    if ratios.empty:
        return style.sentence_figure(
            study, f"No trial logged {MEASURE}, so the strength of the term is not known."
        )
    figure = style.new_figure(3.5)
    axes = figure.add_subplot(label=MEASURE)
    axes.axhspan(*USEFUL, color=style.NEUTRAL, alpha=0.15, linewidth=0)
    axes.axhline(1, color=style.NEUTRAL, linewidth=0.8)
    alive = ratios[ratios["median"] > 0]
    groups = style.in_form_order(alive).groupby(["form", "complete"], sort=False)
    for (form, complete), group in groups:
        _draw_group(axes, str(form), bool(complete), group)
    _draw_dead(axes, ratios[ratios["median"] <= 0])
    axes.set(xscale="log", yscale="log")
    axes.set_ylim(min(axes.get_ylim()[0], USEFUL[0] / 2), max(axes.get_ylim()[1], 1.5))
    style.set_log(axes, "x")
    style.set_log(axes, "y")
    axes.set_xlabel("tau_0")
    axes.set_ylabel("gradient norm,\ncontrastive / other losses")
    style.tidy_axes(axes)
    handles = style.form_handles(ratios)
    style.add_legend(figure, [*handles, *_other_handles(ratios)])
    before = f"{MEASURE} over training; trials scored by FID"
    style.add_caption(figure, style.caption(study, before=before))
    return figure


def gradient_ratios(study: StudyResults) -> pd.DataFrame:
    """Return one row for each contrastive trial that logged the ratio.

    Returns:
        columns number, form, tau_0, complete, and over the trial's logged steps: median, low
        (10th percentile) and high (90th).
    """
    logged = study.curves[study.curves["measure"] == MEASURE].groupby("number")["value"]
    spread = pd.DataFrame(
        {"median": logged.median(), "low": logged.quantile(0.1), "high": logged.quantile(0.9)}
    )
    trials = study.trials[study.trials["form"] != "none"].set_index("number")
    trials = trials.assign(complete=trials["state"] == "COMPLETE")
    return trials[["form", "tau_0", "complete"]].join(spread, how="inner").reset_index()


def _draw_group(axes: Axes, form: str, complete: bool, group: pd.DataFrame) -> None:
    look = style.form_style(form)
    axes.vlines(
        group["tau_0"],
        group["low"].where(group["low"] > 0, group["median"]),
        group["high"],
        color=look.colour,
        linewidth=1,
        alpha=0.6,
    )
    axes.plot(
        group["tau_0"],
        group["median"],
        linestyle="none",
        marker=look.marker,
        markersize=6,
        color=look.colour,
        markerfacecolor=look.colour if complete else "none",
        label=look.label if complete else f"{look.label}, not complete",
    )


def _draw_dead(axes: Axes, dead: pd.DataFrame) -> None:
    for form, group in dead.groupby("form"):
        look = style.form_style(str(form))
        axes.plot(
            group["tau_0"],
            [0.02] * len(group),
            linestyle="none",
            marker=look.marker,
            markersize=6,
            markeredgecolor=look.colour,
            markerfacecolor="none",
            clip_on=False,
            transform=axes.get_xaxis_transform(),
            label=f"{look.label}, ratio 0",
        )
    for tau_0 in dead["tau_0"]:
        axes.annotate(
            "0",
            (tau_0, 0.02),
            xycoords=axes.get_xaxis_transform(),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=style.SMALL_PT,
            bbox=style.ON_GRID,
        )


def _other_handles(ratios: pd.DataFrame) -> list[Artist]:
    band = Patch(color=style.NEUTRAL, alpha=0.15, label="1 to 10 %")
    if ratios["complete"].all():
        return [band]
    return [style.hollow_handle("not complete"), band]
