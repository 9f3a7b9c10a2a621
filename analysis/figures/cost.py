"""Figure: where the hours of a study went: training, scoring, pruned trials, confirmation."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures import style

READING = (
    "Hours of all workers, by what they were spent on. "
    "They are hours of GPUs, or of workers where there was no GPU, of trials scored in full, of "
    "pruned and failed ones and of the confirmation. What trials fork from has a row of its own, "
    "and a training that several trials share is counted once, at the first of them. Start-up "
    "and waiting are not included; numbers in brackets count trials."
)
PURPOSES = ("shared training", "full", "running", "pruned", "failed", "confirmation")
PURPOSE_WORDS = {
    "shared training": "shared training",
    "full": "scored in full",
    "running": "still running",
    "pruned": "pruned",
    "failed": "failed",
    "confirmation": "confirmation",
}
PART_COLOURS = {
    "training": style.OTHER_COLOURS[0],
    "sampling": style.OTHER_COLOURS[1],
    "features": style.OTHER_COLOURS[2],
    "metrics": style.NEUTRAL,
}
ROW_IN = 0.36


def applies(study: StudyResults) -> bool:
    """Return whether there is more than one bar; the report says in a sentence what one says."""
    return len(cost_hours(study.costs)[0]) > 1


def cost_figure(study: StudyResults) -> Figure:
    """Draw a bar of hours for each purpose, divided into parts.

    Returns:
        one axes whose bar containers are the parts.
    """
    hours, unit = cost_hours(study.costs)
    if hours.empty:
        return style.sentence_figure(study, "No trial left a record of what it cost.")
    purposes = [name for name in PURPOSES if name in hours.index]
    hours = hours.loc[purposes]
    figure = style.new_figure(1.5 + ROW_IN * len(purposes))
    axes = figure.add_subplot(label="cost")
    parts = [part for part in PART_COLOURS if part in hours.columns]
    scale, unit_words = _scale(float(hours.sum(axis=1).max()), unit)
    _draw_bars(axes, hours[parts] * scale)
    counts = _num_trainings(study.costs)
    names = [f"{PURPOSE_WORDS[name]} ({counts.get(name, 0)})" for name in purposes]
    axes.set_yticks(range(len(purposes)), names)
    axes.invert_yaxis()
    axes.set_xlabel(unit_words)
    axes.margins(x=0.14)
    axes.set_xlim(left=0)
    style.tidy_categories(axes)
    handles = [Patch(facecolor=PART_COLOURS[part], label=part) for part in parts]
    style.add_legend(figure, handles)
    total = float(hours.sum().sum()) * scale
    text = f"{total:,.3g} {unit_words} in all{_planned(study, unit, scale)}"
    style.add_caption(figure, f"trials scored by {style.caption(study)}", text)
    return figure


def cost_hours(costs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return hours by purpose (rows) and part (columns), and their unit.

    Returns:
        hours of GPUs if any row has one, else of workers; and "GPU" or "worker".
    """
    unit = "GPU" if (costs["gpus"] > 0).any() else "worker"
    number = costs["gpus"] if unit == "GPU" else costs["workers"]
    spent = costs.assign(hours=costs["seconds"] * number / 3600)
    table = spent.pivot_table("hours", "purpose", "part", aggfunc="sum", fill_value=0.0)
    return table, unit


def _num_trainings(costs: pd.DataFrame) -> dict[str, int]:
    """Return how many trials each purpose has; a shared training is one training."""
    counts = costs.groupby("purpose")["number"].nunique()
    return {str(name): max(1, int(count)) for name, count in counts.items()}


def _scale(largest_hours: float, unit: str) -> tuple[float, str]:
    """Return the factor from hours, and the unit in words; short studies are shown in minutes."""
    if largest_hours < 1:
        return 60.0, f"{unit}-minutes"
    return 1.0, f"{unit}-hours"


def _planned(study: StudyResults, unit: str, scale: float) -> str:
    plan = study.cost.plan if study.cost else None
    if plan is None or plan.on_gpu != (unit == "GPU"):
        return ""
    return f" ({plan.hours * scale:,.3g} planned)"


def _draw_bars(axes: Axes, hours: pd.DataFrame) -> None:
    places = range(len(hours))
    start = pd.Series(0.0, index=hours.index)
    for part in hours.columns:
        axes.barh(
            places,
            hours[part],
            left=start,
            height=0.72,
            color=PART_COLOURS[str(part)],
            edgecolor="white",
            linewidth=0.5,
            label=str(part),
        )
        start = start + hours[part]
    share = start / start.sum() if start.sum() else start
    for place, (end, part_of_all) in enumerate(zip(start, share, strict=True)):
        axes.annotate(
            f"{100 * part_of_all:.0f} %",
            (end, place),
            xytext=(3, 0),
            va="center",
            textcoords="offset points",
            fontsize=style.CAPTION_PT,
            bbox=style.ON_GRID,
        )
