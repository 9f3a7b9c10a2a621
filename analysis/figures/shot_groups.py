"""Figure: FID of the many-, medium- and few-shot classes, per form."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from diffrop.analysis.data.compare import best_of_each_form
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import format_count, format_score
from diffrop.analysis.figures import style
from diffrop.shot_groups import SHOT_GROUPS

READING = (
    "The bars are the baseline and the best trial of each form, by the objective and at its own "
    "omega; lower is better. Each group is compared with balanced real images of its own classes, "
    "and all groups have equally many samples. Compare bars within a group, because each group "
    "has a reference of its own."
)
GROUP_WIDTH = 0.84
MAX_LYING = 3
"""More bars a group have their numbers upright, so that these do not run into each other."""


def shot_groups_figure(study: StudyResults) -> Figure:
    """Draw one bar per shot group and form.

    Returns:
        one axes whose bar containers are the forms, each with the groups from many to few.
    """
    trials = style.in_form_order(best_of_each_form(study))
    columns = [f"fid/{group}" for group in SHOT_GROUPS]
    trials = trials[trials[columns].notna().any(axis=1)]
    if trials.empty:
        return style.sentence_figure(
            study, "No complete trial has scores per shot group yet, so there are no bars to draw."
        )
    figure = style.new_figure(3.4)
    axes = figure.add_subplot(label="shot groups")
    handles = []
    for place, (_, trial) in enumerate(trials.iterrows()):
        look = style.form_style(str(trial["form"]))
        _draw_bars(axes, trial[columns].astype(float), place, len(trials), look.colour)
        handles.append(Patch(color=look.colour, label=look.label))
    axes.set_xticks(range(len(SHOT_GROUPS)), [f"{group}-shot" for group in SHOT_GROUPS])
    axes.set_ylabel("FID")
    style.tidy_categories(axes, "x")
    axes.tick_params(axis="x", labelsize=style.TEXT_PT)
    axes.margins(y=0.2)
    style.add_legend(figure, handles)
    scores = columns if study.objective in columns else [study.objective, *columns]
    style.add_caption(figure, style.caption(study, scores=scores) + reference_score_text(study))
    return figure


def reference_score_text(study: StudyResults) -> str:
    """Return the scores of real images and of noise as more lines of a caption, if known."""
    names = {"real": "Real images in place of samples", "noise": "Pure noise"}
    lines = []
    for key, name in names.items():
        stored = study.reference_scores.get(key) or {}
        scores, counts = stored.get("scores") or {}, stored.get("num_samples") or {}
        groups = [group for group in SHOT_GROUPS if f"fid/{group}" in scores]
        found = [f"{group} {format_score(scores[f'fid/{group}'])}" for group in groups]
        each = " / ".join(dict.fromkeys(format_count(counts.get(group)) for group in groups))
        if found:
            lines.append(f"{name} (N = {each} each): {', '.join(found)}")
    return ".\n".join(["", *lines])


def _draw_bars(axes: Axes, values: pd.Series, place: int, num_bars: int, colour: str) -> None:
    width = GROUP_WIDTH / num_bars
    shift = (place + 0.5) * width - GROUP_WIDTH / 2
    bars = axes.bar(
        [x + shift for x in range(len(values))], values, width=0.92 * width, color=colour
    )
    texts = [format_score(value) for value in values]
    upright = 90 if num_bars > MAX_LYING else 0
    axes.bar_label(bars, texts, fontsize=style.CAPTION_PT, padding=2, rotation=upright)
