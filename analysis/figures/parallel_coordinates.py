"""Figure: every trial as a line through all searched parameters down to its objective."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffrop.analysis.data.compare import broken, comparable_trials, contrastive_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.search_study import searched_columns
from diffrop.analysis.data.words import format_score, parameter_label, score_label
from diffrop.analysis.figures import score_axes, style
from diffrop.analysis.figures.wrapping import text_width_in
from diffrop.record.names import trial_label

READING = (
    "Each line is a trial, from the values of its parameters down to its objective, where "
    "further left is better. "
    "The best quarter is drawn bold. Grey lines end above the objective: these trials were "
    "pruned, failed or are still running. Trials whose score is far above the others' end beyond "
    "the scale. A line skips a parameter that its trial does not have, such as the margin "
    "without the hinge."
)
ROW_IN = 0.6
LABEL_BAND = 0.34
"""Below each row lines run straight down for this share of the distance to the next one, where
the names of choices stand beside them."""
STAGGERED_BAND = 0.54
"""The same where names that would meet stand in two lines."""
LENGTH_IN = 2.7
"""Length of a row."""
MARGIN = 0.38
"""Room at the left for the rows' names, as a share of their length."""
BEYOND = 1.08
"""Where lines end whose score is far above the others'."""
BOLD_SHARE = 0.25
OBJECTIVE = "value"
# Optuna draws this figure too (optuna.visualization.matplotlib): beside each other its axes take
# twice a column's width before the names of forms stop covering the lines, and pruned trials and
# parameters that were not asked for lie on them as if they had values.


@dataclass(frozen=True)
class Scale:
    """Where the values of one row lie, from 0 at the left to 1 at the right."""

    name: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    @property
    def staggered(self) -> bool:
        """Whether its names would meet in one line."""
        room = LENGTH_IN / max(1, len(self.choices)) - 0.08
        labels = [style.form_style(choice).label for choice in self.choices]
        return any(text_width_in(label, style.CAPTION_PT) > room for label in labels)

    def place(self, value: Any) -> float | None:
        """Return the place of a value; None where there is none."""
        if self.choices:
            if str(value) not in self.choices:
                return None
            return (self.choices.index(str(value)) + 0.5) / len(self.choices)
        if value is None or pd.isna(value):
            return None
        if self.high == self.low:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        place = (float(value) - self.low) / (self.high - self.low)
        return min(place, BEYOND) if self.name == OBJECTIVE else place


def applies(study: StudyResults) -> bool:
    """Return whether there are lines to compare."""
    return len(contrastive_trials(study)) >= 2


def parallel_coordinates_figure(study: StudyResults) -> Figure:
    """Draw the parameters as rows, and every contrastive trial as a line through them.

    Returns:
        one axes, with a line named after each trial.
    """
    scored = comparable_trials(study)
    scored = scored[~scored["baseline"]]
    scales = row_scales(study, scored)
    if scored.empty or len(scales) < 2:
        return style.sentence_figure(
            study, "No complete trial has searched parameters yet, so there are no lines to draw."
        )
    figure = style.new_figure(1.2 + ROW_IN * len(scales))
    axes = figure.add_subplot(label="parameters")
    _draw_rows(axes, study, scales)
    trials = study.trials[~study.trials["baseline"]]
    bold = scored["number"].head(max(1, round(BOLD_SHARE * len(scored)))).tolist()
    for _, trial in trials.iterrows():
        complete = trial["number"] in scored["number"].tolist()
        _draw_trial(axes, trial, scales, complete, trial["number"] in bold)
    far = scored[OBJECTIVE][broken(scored[OBJECTIVE])].sort_values()
    if len(far):
        text = score_axes.together([format_score(value) for value in far])
        _write(axes, (BEYOND, len(scales) - 1), f"beyond: {text}", (8, -22), "right")
    axes.set(xlim=(-MARGIN, 1.12), ylim=(len(scales) - 0.6, -0.35))
    axes.set_axis_off()
    grey = Line2D([], [], color=style.NEUTRAL, alpha=0.5, label="not scored in full")
    style.add_legend(figure, [*style.form_handles(scored, line=True), grey])
    notes = f"{len(scored)} of {len(trials)} trials scored in full"
    style.add_caption(figure, style.caption(study), notes)
    return figure


def row_scales(study: StudyResults, scored: pd.DataFrame) -> list[Scale]:
    """Return the rows: the parameters that vary over all trials, then the objective."""
    trials = study.trials[~study.trials["baseline"]]
    scales = []
    for column, item in searched_columns(study).items():
        values = trials[column][trials[column].notna() & (trials[column].astype(str) != "")]
        if values.nunique() < 2:
            continue
        if item.get("choices") is not None:
            known = [str(choice) for choice in item["choices"]]
            tried = [str(value) for value in values.unique()]
            scales.append(Scale(column, (*known, *(t for t in tried if t not in known))))
        else:
            low = min(float(item["low"]), float(values.min()))
            high = max(float(item["high"]), float(values.max()))
            scales.append(Scale(column, low=low, high=high, log=bool(item.get("log"))))
    if len(scored):
        values = scored[OBJECTIVE][~broken(scored[OBJECTIVE])]
        scales.append(Scale(OBJECTIVE, low=float(values.min()), high=float(values.max())))
    return scales


def _draw_rows(axes: Axes, study: StudyResults, scales: list[Scale]) -> None:
    for row, scale in enumerate(scales):
        axes.plot([0, 1], [row, row], color=style.NEUTRAL, linewidth=0.8, zorder=1)
        is_score = scale.name == OBJECTIVE
        label = score_label(study.objective) if is_score else parameter_label(scale.name)
        low, high = _ends(scale)
        _write(axes, (-0.02, row), label, (0, 1 if low else -4), "right", bold=True)
        _write(axes, (-0.02, row), low, (0, -9), "right")
        _write(axes, (1.02, row), high, (0, -12 if is_score else -4), "left")
        for number, choice in enumerate(scale.choices):
            place = (number + 0.5) / len(scale.choices)
            axes.plot([place] * 2, [row - 0.06, row + 0.06], color=style.NEUTRAL, linewidth=0.8)
            down = -20 if scale.staggered and number % 2 else -11
            _write(axes, (place, row), style.form_style(choice).label, (3, down), "left")


def _write(
    axes: Axes,
    point: tuple[float, float],
    text: str,
    shift: tuple[float, float],
    side: Literal["left", "right"],
    *,
    bold: bool = False,
) -> None:
    axes.annotate(
        text,
        point,
        xytext=shift,
        textcoords="offset points",
        ha=side,
        fontsize=style.SMALL_PT if bold else style.CAPTION_PT,
        fontweight="bold" if bold else "normal",
    )


def _ends(scale: Scale) -> tuple[str, str]:
    """Return the texts at a row's ends; none where it has names."""
    if scale.choices:
        return "", ""
    is_score = scale.name == OBJECTIVE
    low, high = ((format_score(v) if is_score else f"{v:g}") for v in (scale.low, scale.high))
    return low, high


def _draw_trial(
    axes: Axes, trial: pd.Series, scales: list[Scale], complete: bool, bold: bool
) -> None:
    places = [
        None if scale.name == OBJECTIVE and not complete else scale.place(trial[scale.name])
        for scale in scales
    ]
    points = [(place, row) for row, place in enumerate(places) if place is not None]
    straight = [
        (place, row + (STAGGERED_BAND if scales[row].staggered else LABEL_BAND))
        for place, row in points[:-1]
    ]
    turns = [point for pair in zip(points, straight, strict=False) for point in pair]
    look = style.form_style(str(trial["form"]))
    axes.plot(
        *zip(*turns, *points[-1:], strict=True),
        color=look.colour if complete else style.NEUTRAL,
        marker=look.marker,
        markevery=2,
        markersize=3,
        linewidth=2.0 if bold else 0.9,
        alpha=0.95 if bold else 0.5,
        zorder=3 if bold else 2,
        label=trial_label(trial["number"]),
    )
