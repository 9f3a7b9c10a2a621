"""Figure: scores against the guidance scale omega, for the baseline and each form's best trial."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrop.analysis.data.compare import best_of_each_form, broken
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import format_score
from diffrop.analysis.figures import score_axes, style
from diffrop.analysis.figures.omega_panels import NO_PANEL, panel_note, panel_rows, style_panel

READING = (
    "The baseline and the best trial of each form over the guidance scale omega, where 0 is no "
    "guidance; lower is better. "
    "Trials whose best score is far above the others' are left out. The ring marks the omega at "
    "which the trial is ranked, the best by the objective, in every panel; its bar is the 95 % "
    "interval over samples, where the curve has the full N. Groups differ in N, so compare lines "
    "within a panel only."
)


def applies(study: StudyResults) -> bool:
    """Return whether there is a curve over omega."""
    return bool(panel_rows(study, best_of_each_form(study)["number"].tolist()))


def guidance_curve_figure(study: StudyResults) -> Figure:
    """Draw the objective, and FID of the few-shot classes, against omega.

    Returns:
        axes labelled by score, with one line per form, and a ring at the best omega.
    """
    found = style.in_form_order(best_of_each_form(study))
    far = found[broken(found["value"])]
    trials = found.drop(far.index)
    numbers = [int(number) for number in trials["number"]]
    panels = panel_rows(study, numbers)
    if not panels:
        return style.sentence_figure(study, NO_PANEL)
    figure = style.new_figure(3.3)
    for place, (score, rows) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), place + 1, label=score)
        for _, trial in trials.iterrows():
            own = rows[rows["number"] == trial["number"]]
            _draw_trial(axes, trial, own.set_index("omega")["value"])
            if score == study.objective:
                _draw_interval(axes, trial, own)
        style_panel(axes, score, rows)
    figure.axes[0].set_ylabel("FID")
    style.add_legend(figure, style.form_handles(trials, line=True))
    left_out = [
        f"{style.form_style(str(form)).label} ({format_score(value)})"
        for form, value in zip(far["form"], far["value"], strict=True)
    ]
    notes = [
        panel_note(study, panels),
        f"rings: best omega by {study.objective}",
        *([f"left out: {', '.join(left_out)}"] if left_out else []),
    ]
    protocol = style.caption(study, scores=list(panels))
    style.add_caption(figure, protocol, "; ".join(filter(None, notes)))
    return figure


def _draw_trial(axes: Axes, trial: pd.Series, curve: pd.Series) -> None:
    look = style.form_style(str(trial["form"]))
    axes.plot(
        curve.index,
        curve,
        color=look.colour,
        marker=look.marker,
        markersize=4,
        linewidth=1.5,
        label=look.label,
    )
    if trial["omega"] in curve.index:
        at = [trial["omega"]], [curve[trial["omega"]]]
        score_axes.draw_ring(axes, *at, look.colour, "best omega")


def _draw_interval(axes: Axes, trial: pd.Series, own: pd.DataFrame) -> None:
    """Draw the interval of the trial's value, if the curve passes through that very value."""
    at_best = own.loc[own["omega"] == trial["omega"], "value"]
    if at_best.empty or pd.isna(trial["value_low"]) or at_best.iloc[0] != trial["value"]:
        return
    axes.plot(
        [trial["omega"]] * 2,
        [trial["value_low"], trial["value_high"]],
        linewidth=3,
        alpha=0.5,
        color=style.form_style(str(trial["form"])).colour,
        solid_capstyle="butt",
        label="interval",
    )
