"""Figure: what a wrong omega costs, for each form, with intervals (the paper's Figure 4b)."""

import sys

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import t as student

from analysis.command import figure_command
from analysis.compare import comparable_trials
from analysis.guidance_curve import panel_caption, panel_scores, style_panel
from analysis.load import StudyResults
from analysis.rounds import omega_rows
from analysis.style import (
    add_caption,
    add_legend,
    form_style,
    in_form_order,
    new_figure,
    sentence_figure,
)

TITLE = "Sensitivity to omega"
READING = (
    "How much worse a score is at each guidance scale than at the trial's own best one: the mean "
    "over all trials of a form that were scored in full, with the 95 % interval (Student's t) "
    "over these trials, which differ in tau_0 and the rest. A form of fewer than three trials has "
    "no interval. A flat, low line is a form that forgives the choice of omega; 0 at one omega "
    "means that all trials agree on it."
)
CONFIDENCE = 0.95
SMALLEST_BAND = 3
"""Trials from which on a mean has an interval."""


def omega_sensitivity_figure(study: StudyResults) -> Figure:
    """Draw the mean loss against omega of each form, with its interval.

    Returns:
        axes labelled by score, with a line for each form and a band where it has three trials.
    """
    numbers = [int(number) for number in comparable_trials(study)["number"]]
    panels = {score: omega_rows(study, numbers, score) for score in panel_scores(study.objective)}
    panels = {score: rows for score, rows in panels.items() if len(rows)}
    if not panels:
        return sentence_figure(
            study, "No trial is complete yet, so there are no scores over omega to compare."
        )
    figure = new_figure(3.4)
    counts: dict[str, int] = {}
    for place, (score, rows) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), place + 1, label=score)
        losses = omega_losses(rows)
        for form, found in in_form_order(losses).groupby("form", sort=False):
            _draw_form(axes, str(form), found)
            counts[str(form)] = int(found["num_trials"].max())
        style_panel(axes, score, rows)
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    figure.axes[0].set_ylabel("FID above the trial's best omega")
    add_legend(figure, [_handle(form, count) for form, count in counts.items()])
    add_caption(figure, panel_caption(study, panels) + "; bands: 95 % over the trials of a form")
    return figure


def omega_losses(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how much worse each omega is than a trial's own best, as means over trials.

    Args:
        rows: one score, as `omega_rows` returns it.

    Returns:
        columns form, omega, num_trials, mean, low, high (NaN below `SMALLEST_BAND` trials).
    """
    loss = rows["value"] - rows.groupby("number")["value"].transform("min")
    groups = rows.assign(loss=loss).groupby(["form", "omega"])["loss"]
    found = groups.agg(num_trials="size", mean="mean", spread="sem").reset_index()
    count = found["num_trials"]
    reach = found["spread"] * student.ppf((1 + CONFIDENCE) / 2, (count - 1).clip(lower=1))
    reach = reach.where(count >= SMALLEST_BAND)
    return found.assign(low=found["mean"] - reach, high=found["mean"] + reach).drop(
        columns="spread"
    )


def _draw_form(axes: Axes, form: str, found: pd.DataFrame) -> None:
    style = form_style(form)
    axes.plot(
        found["omega"], found["mean"], color=style.colour, marker=style.marker, markersize=4,
        linewidth=1.5, label=style.label,
    )  # fmt: skip
    if found["low"].notna().any():
        axes.fill_between(
            found["omega"], found["low"].clip(lower=0), found["high"], color=style.colour,
            alpha=0.18, linewidth=0, label=f"{style.label} interval",
        )  # fmt: skip


def _handle(form: str, count: int) -> Line2D:
    style = form_style(form)
    noun = "trial" if count == 1 else "trials"
    return Line2D(
        [], [], color=style.colour, marker=style.marker, label=f"{style.label} ({count} {noun})"
    )


if __name__ == "__main__":
    sys.exit(figure_command(omega_sensitivity_figure, "omega_sensitivity"))
