"""Figure: the objective against the hinge's margin, and how often the hinge was active."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrop.analysis.data.compare import (
    baseline_trial,
    beside_baseline,
    contrastive_trials,
)
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import beyond_text, format_score, score_label
from diffrop.analysis.figures import score_axes, style

READING = (
    "Trials with the hinge: above, the objective less the baseline's; below, the share of pairs "
    "on which the hinge acted. "
    "Bars are 95 % intervals over samples. The share is the median over training, of all trials "
    "that logged it, hollow if not scored in full: at 0 the hinge has no effect at all, at 1 it "
    "is negative_l2. Only a margin in between tests the hinge."
)
MEASURE = "pcl/active_share"
MIN_MARGINS = 3
"""Fewer margins of trials with the hinge show no course over them."""


def applies(study: StudyResults) -> bool:
    """Return whether the hinge has scores or active shares at several margins."""
    return bool(_panels(study))


def _panels(study: StudyResults) -> dict[str, pd.DataFrame]:
    """Return the trials of each panel that has several margins."""
    scored = contrastive_trials(study)
    scored = scored[(scored["form"] == "hinge") & scored["margin"].notna()]
    panels = {"value": scored, "active share": active_shares(study)}
    return {
        name: found for name, found in panels.items() if found["margin"].nunique() >= MIN_MARGINS
    }


def margin_sensitivity_figure(study: StudyResults) -> Figure:
    """Draw the hinge trials' objective and active share against the margin.

    Returns:
        axes "value", and below it "active share" where a trial logged one.
    """
    parts = _panels(study)
    if not parts:
        return style.sentence_figure(
            study,
            "No trial with the hinge shows a course over the margin: that takes scores, or shares "
            f"of active pairs, at {MIN_MARGINS} margins.",
        )
    figure = style.new_figure(1.5 + 1.5 * len(parts))
    grid = figure.add_gridspec(len(parts), 1)
    first: Axes | None = None
    for place, (part, found) in enumerate(parts.items()):
        axes = figure.add_subplot(grid[place], label=part, sharex=first)
        first = first or axes
        if part == "value":
            _draw_values(axes, study, found)
        else:
            _draw_shares(axes, found)
        style.tidy_axes(axes)
        axes.tick_params(labelbottom=place == len(parts) - 1)
    figure.axes[-1].set_xlabel(_margin_label(study))
    figure.axes[-1].locator_params(axis="x", nbins=5)
    baseline = baseline_trial(study)
    notes = f"trials with the hinge scored in full: {len(parts.get('value', ()))}"
    if baseline is not None:
        notes += f"; the baseline scored {format_score(baseline['value'])}"
    style.add_caption(figure, style.caption(study), notes)
    return figure


def active_shares(study: StudyResults) -> pd.DataFrame:
    """Return margin, share (median over training) and complete of each hinge trial that logged it.

    Returns:
        columns number, margin, share, complete.
    """
    logged = study.curves[study.curves["measure"] == MEASURE].groupby("number")["value"].median()
    hinge = study.trials[(study.trials["form"] == "hinge") & study.trials["margin"].notna()]
    hinge = hinge.set_index("number").assign(complete=hinge["state"].to_numpy() == "COMPLETE")
    return hinge[["margin", "complete"]].join(logged.rename("share"), how="inner").reset_index()


def _margin_label(study: StudyResults) -> str:
    rule = study.setting("contrastive.margin_rule")
    meaning = {
        "oracle": "multiple of the true distance",
        "constant": "distance itself",
        "quantile": "quantile of an image's distances",
    }
    return f"margin ({meaning.get(str(rule), rule)})"


def _draw_values(axes: Axes, study: StudyResults, scored: pd.DataFrame) -> None:
    look = style.form_style("hinge")
    trials = beside_baseline(study, scored)
    near, far = trials[~trials["beyond"]], trials[trials["beyond"]]
    axes.plot(
        near["margin"],
        near["shown"],
        linestyle="none",
        marker=look.marker,
        markersize=6,
        color=look.colour,
        label="hinge",
    )
    known = near[near["low"].notna()]
    axes.vlines(
        known["margin"],
        known["low"],
        known["high"],
        color=look.colour,
        linewidth=1.2,
        alpha=0.6,
    )
    words = score_label(study.objective).replace(" of ", "\nof ")
    is_difference = baseline_trial(study) is not None
    if is_difference:
        score_axes.draw_zero(axes)
        words = f"{words}\nless the baseline's"
    axes.margins(y=0.12)
    axes.set_ylabel(words)
    texts = [beyond_text(value, is_difference) for value in far["shown"]]
    score_axes.draw_beyond(axes, far["margin"], far["form"], texts)


def _draw_shares(axes: Axes, shares: pd.DataFrame) -> None:
    look = style.form_style("hinge")
    for complete, group in shares.groupby("complete"):
        axes.plot(
            group["margin"],
            group["share"],
            linestyle="none",
            marker=look.marker,
            markersize=6,
            color=look.colour,
            markerfacecolor=look.colour if complete else "none",
            label="active share" if complete else "active share, not complete",
        )
    axes.set_ylim(-0.05, 1.05)
    axes.set_ylabel("share of pairs\nacted on")
