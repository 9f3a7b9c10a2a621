"""Figure: scores against the guidance scale omega, for the baseline and each form's best trial."""

import sys

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.command import figure_command
from analysis.compare import best_of_each_form, num_samples_column
from analysis.load import StudyResults
from analysis.style import (
    LEGEND_PT,
    add_caption,
    add_legend,
    caption,
    form_handle,
    form_style,
    in_form_order,
    new_figure,
    sentence_figure,
    style_axes,
    widen_scores,
)
from analysis.words import score_label

TITLE = "Guidance: scores against omega"
READING = (
    "The baseline and the best trial of each form, their samples drawn at each guidance scale "
    "omega (0 is no guidance); lower is better. The ring marks the omega at which the trial is "
    "ranked: the best by the objective, in every panel. Groups differ in N, so compare lines "
    "within a panel only."
)

MAX_TICKS = 6
"""A grid of omega no longer than this names each of its values on the axis."""


def guidance_curve_figure(study: StudyResults) -> Figure:
    """Draw the objective, and FID of the few-shot classes, against omega.

    Returns:
        axes labelled by score, with one line per form, and a ring at the best omega.
    """
    trials = in_form_order(best_of_each_form(study))
    final = study.measurements[study.measurements["final"]]
    final = final[final["number"].isin(trials["number"])]
    scores = [name for name in _scores(study.objective) if (final["score"] == name).any()]
    if not scores:
        return sentence_figure(
            study, "No trial is complete yet, so there are no scores over omega to compare."
        )
    figure = new_figure(3.3)
    for place, score in enumerate(scores):
        axes = figure.add_subplot(1, len(scores), place + 1, label=score)
        for _, trial in trials.iterrows():
            _draw_trial(axes, trial, final_curve(study, int(trial["number"]), score))
        counts = trials[num_samples_column(score)].dropna()
        note = f", N = {int(counts.iloc[0]):,}" if len(counts) else ""
        axes.set_title(score_label(score) + note, fontsize=LEGEND_PT, loc="left")
        axes.set_xlabel("guidance scale omega")
        omegas = final["omega"].unique()
        if len(omegas) <= MAX_TICKS:
            axes.set_xticks(omegas)
        widen_scores(axes)
        style_axes(axes)
    figure.axes[0].set_ylabel("FID")
    add_legend(figure, [form_handle(form, line=True) for form in trials["form"]])
    add_caption(figure, f"{caption(study, scores=scores)}; rings: best omega by {study.objective}")
    return figure


def final_curve(study: StudyResults, number: int, score: str) -> pd.Series:
    """Return one trial's score at the end of training, indexed by omega in rising order."""
    rows = study.measurements
    rows = rows[(rows["number"] == number) & (rows["score"] == score) & rows["final"]]
    return rows.set_index("omega")["value"].sort_index()


def _scores(objective: str) -> tuple[str, str]:
    return (objective, "fid/all" if objective == "fid/few" else "fid/few")


def _draw_trial(axes: Axes, trial: pd.Series, curve: pd.Series) -> None:
    style = form_style(str(trial["form"]))
    axes.plot(
        curve.index, curve, color=style.colour, marker=style.marker, markersize=4, linewidth=1.5,
        label=style.label,
    )  # fmt: skip
    if trial["omega"] in curve.index:
        axes.plot(
            [trial["omega"]], [curve[trial["omega"]]], linestyle="none", marker="o", markersize=10,
            markerfacecolor="none", markeredgecolor=style.colour, markeredgewidth=1.2,
            label="best omega",
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(figure_command(guidance_curve_figure, "guidance_curve"))
