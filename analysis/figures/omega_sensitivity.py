"""Figure: what a wrong omega costs, for each form, with intervals (the paper's Figure 4b)."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import t as student

from diffrop.analysis.data.compare import broken, comparable_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import trials_in_words
from diffrop.analysis.figures import style
from diffrop.analysis.figures.omega_panels import NO_PANEL, panel_note, panel_rows, style_panel

READING = (
    "How much worse a score is at each guidance scale than at the trial's own best one, on "
    "average over the trials of a form. "
    "They are those scored in full, without those whose score is far above the others'; bands "
    "are 95 % intervals (Student's t) over these trials, which differ in tau_0 and the rest. A "
    "form of fewer than three trials has no interval. A flat, low line is a form for which the "
    "choice of omega matters little; 0 at one omega means that it is the best one of every trial."
)
MIN_TRIALS = 12
"""Fewer trials in all are too few of each form; the guidance curves show them one by one."""
CONFIDENCE = 0.95
SMALLEST_BAND = 3
"""Trials from which on a mean has an interval."""


def applies(study: StudyResults) -> bool:
    """Return whether enough trials were scored over omega."""
    numbers = comparable_trials(study)["number"].tolist()
    return len(numbers) >= MIN_TRIALS and bool(panel_rows(study, numbers))


def omega_sensitivity_figure(study: StudyResults) -> Figure:
    """Draw the mean loss against omega of each form, with its interval.

    Returns:
        axes labelled by score, with a line for each form and a band where it has three trials.
    """
    trials = comparable_trials(study)
    far = trials[broken(trials["value"])]
    panels = panel_rows(study, trials["number"].drop(far.index).tolist())
    if not panels:
        return style.sentence_figure(study, NO_PANEL)
    figure = style.new_figure(3.4)
    counts: dict[str, int] = {}
    for place, (score, rows) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), place + 1, label=score)
        losses = omega_losses(rows)
        for form, found in style.in_form_order(losses).groupby("form", sort=False):
            _draw_form(axes, str(form), found)
            counts[str(form)] = int(found["num_trials"].max())
        style_panel(axes, score, rows)
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    figure.axes[0].set_ylabel("FID above the trial's best omega")
    style.add_legend(figure, [_handle(form, count) for form, count in counts.items()])
    left_out = trials_in_words(far)
    notes = [
        panel_note(study, panels),
        "bands: 95 % over the trials of a form",
        f"left out: {left_out}" if left_out else "",
    ]
    protocol = style.caption(study, scores=list(panels))
    style.add_caption(figure, protocol, "; ".join(filter(None, notes)))
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
    look = style.form_style(form)
    axes.plot(
        found["omega"],
        found["mean"],
        color=look.colour,
        marker=look.marker,
        markersize=4,
        linewidth=1.5,
        label=look.label,
    )
    if found["low"].notna().any():
        axes.fill_between(
            found["omega"],
            found["low"].clip(lower=0),
            found["high"],
            color=look.colour,
            alpha=0.18,
            linewidth=0,
            label=f"{look.label} interval",
        )


def _handle(form: str, count: int) -> Line2D:
    look = style.form_style(form)
    noun = "trial" if count == 1 else "trials"
    return Line2D(
        [], [], color=look.colour, marker=look.marker, label=f"{look.label} ({count} {noun})"
    )
