"""Figure: scores against the guidance scale omega, for the baseline and each form's best trial."""

import sys

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.command import figure_command
from analysis.compare import best_of_each_form
from analysis.load import StudyResults
from analysis.rounds import omega_rows, round_note
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
    "ranked: the best by the objective, in every panel; its bar is the 95 % interval over "
    "samples, where the curve has the full N. Groups differ in N, so compare lines within a "
    "panel only."
)

TICK_GAP = 0.14
"""Least distance of two omegas that are both named on the axis, as a share of the range."""


def guidance_curve_figure(study: StudyResults) -> Figure:
    """Draw the objective, and FID of the few-shot classes, against omega.

    Returns:
        axes labelled by score, with one line per form, and a ring at the best omega.
    """
    trials = in_form_order(best_of_each_form(study))
    numbers = [int(number) for number in trials["number"]]
    panels = {score: omega_rows(study, numbers, score) for score in panel_scores(study.objective)}
    panels = {score: rows for score, rows in panels.items() if len(rows)}
    if not panels:
        return sentence_figure(
            study, "No trial is complete yet, so there are no scores over omega to compare."
        )
    figure = new_figure(3.3)
    for place, (score, rows) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), place + 1, label=score)
        for _, trial in trials.iterrows():
            own = rows[rows["number"] == trial["number"]]
            _draw_trial(axes, trial, own.set_index("omega")["value"])
            if score == study.objective:
                _draw_interval(axes, trial, own)
        style_panel(axes, score, rows)
    figure.axes[0].set_ylabel("FID")
    add_legend(figure, [form_handle(form, line=True) for form in trials["form"]])
    add_caption(figure, panel_caption(study, panels) + f"; rings: best omega by {study.objective}")
    return figure


def panel_scores(objective: str) -> tuple[str, str]:
    """Return the objective, and a second score that is worth a panel beside it."""
    return (objective, "fid/all" if objective == "fid/few" else "fid/few")


def style_panel(axes: Axes, score: str, rows: pd.DataFrame) -> None:
    """Give one panel over omega its title with N, its ticks and its common look."""
    counts = rows["num_samples"].dropna()
    note = f"\nN = {int(counts.iloc[0]):,}" if len(counts) else ""
    axes.set_title(score_label(score) + note, fontsize=LEGEND_PT, loc="left")
    axes.set_xlabel("guidance scale omega")
    ticks = spaced_ticks(sorted(rows["omega"].unique()))
    axes.set_xticks(ticks, [f"{omega:g}" for omega in ticks])
    widen_scores(axes)
    style_axes(axes)


def spaced_ticks(omegas: list[float]) -> list[float]:
    """Return the omegas, from the least on, that have room for their names beside each other."""
    ticks: list[float] = []
    for omega in omegas:
        if not ticks or omega - ticks[-1] >= TICK_GAP * (omegas[-1] - omegas[0]):
            ticks.append(float(omega))
    return ticks


def panel_caption(study: StudyResults, panels: dict[str, pd.DataFrame]) -> str:
    """Return the protocol of panels over omega, with the round that they show."""
    text = caption(study, scores=list(panels))
    rows = next(iter(panels.values()))
    full = study.trials.loc[study.trials["number"].isin(rows["number"]), "num_samples/all"].max()
    note = round_note(rows, None if pd.isna(full) else int(full))
    return f"{text}; {note}" if note else text


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


def _draw_interval(axes: Axes, trial: pd.Series, own: pd.DataFrame) -> None:
    """Draw the interval of the trial's value, if the curve passes through that very value."""
    at_best = own.loc[own["omega"] == trial["omega"], "value"]
    if at_best.empty or pd.isna(trial["value_low"]) or at_best.iloc[0] != trial["value"]:
        return
    axes.plot(
        [trial["omega"]] * 2, [trial["value_low"], trial["value_high"]], linewidth=3, alpha=0.5,
        color=form_style(str(trial["form"])).colour, solid_capstyle="butt", label="interval",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(figure_command(guidance_curve_figure, "guidance_curve"))
