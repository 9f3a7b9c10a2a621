"""Figure: FID of the many-, medium- and few-shot classes, per form, less the baseline's."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrop.analysis.data.compare import (
    baseline_trial,
    beside_baseline,
    best_of_each_form,
    enough_samples,
    num_samples_column,
)
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import beyond_text, format_count, format_score
from diffrop.analysis.figures import score_axes, style
from diffrop.shot_groups import SHOT_GROUPS

READING = (
    "FID of the classes of each shot group: the best trial of each form less the baseline, with "
    "the 95 % interval over samples. "
    "Left is better than the baseline; the best trials are by the objective, each at its own "
    "omega. Each group is compared with balanced real images of its own classes, and all groups "
    "have equally many samples, but references of their own: compare within a group."
)
BAND = 0.7
"""Height of a group's trials, where 1 is the distance of two groups."""


def applies(study: StudyResults) -> bool:
    """Return whether shot groups have scores to compare."""
    return not _shown(study).empty


def _shown(study: StudyResults) -> pd.DataFrame:
    """Return the best trial of each form, with the scores of groups that enough samples have."""
    trials = style.in_form_order(best_of_each_form(study))
    columns = [f"fid/{group}" for group in SHOT_GROUPS]
    enough = {name: enough_samples(trials[num_samples_column(name)]) for name in columns}
    trials = trials.assign(**{name: trials[name].where(kept) for name, kept in enough.items()})
    trials = trials[trials[columns].notna().any(axis=1)]
    return trials if baseline_trial(study) is None else trials[~trials["baseline"]]


def shot_groups_figure(study: StudyResults) -> Figure:
    """Draw one row per shot group, with a marker for each form.

    Returns:
        one axes with a line for each group and form, "GROUP FORM".
    """
    baseline, trials = baseline_trial(study), _shown(study)
    if trials.empty:
        return style.sentence_figure(
            study, "No complete trial has scores per shot group yet, so there is none to compare."
        )
    figure = style.new_figure(3.1)
    axes = figure.add_subplot(label="shot groups")
    if baseline is not None:
        score_axes.draw_zero(axes, "x")
    far = pd.concat(_draw_group(axes, study, trials, place) for place in range(len(SHOT_GROUPS)))
    axes.set_yticks(range(len(SHOT_GROUPS)), [_group_name(g, baseline) for g in SHOT_GROUPS])
    axes.set_ylim(len(SHOT_GROUPS) - 0.5, -0.5)
    axes.margins(x=0.1)
    axes.set_xlabel("FID" if baseline is None else "FID less the baseline's, lower is better")
    style.tidy_categories(axes)
    texts = [beyond_text(value, baseline is not None) for value in far["shown"]]
    score_axes.draw_beyond(axes, far["y"], far["form"], texts, "x")
    style.add_legend(figure, style.form_handles(trials))
    columns = [f"fid/{group}" for group in SHOT_GROUPS]
    scores = columns if study.objective in columns else [study.objective, *columns]
    notes = ["arrow: beyond the axis"] * bool(len(far))
    style.add_caption(
        figure,
        style.caption(study, scores=scores) + reference_score_text(study),
        "; ".join(notes),
    )
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


def _group_name(group: str, baseline: pd.Series | None) -> str:
    level = "" if baseline is None else f"\nbaseline {format_score(baseline[f'fid/{group}'])}"
    return f"{group}-shot{level}"


def _draw_group(axes: Axes, study: StudyResults, trials: pd.DataFrame, place: int) -> pd.DataFrame:
    """Draw the trials of one group below each other; return those that are beyond the axis."""
    group = SHOT_GROUPS[place]
    found = beside_baseline(study, trials, f"fid/{group}")
    found = found[found["shown"].notna()]
    step = BAND / max(1, len(found))
    found = found.assign(y=[place + (row + 0.5) * step - BAND / 2 for row in range(len(found))])
    for _, trial in found[~found["beyond"]].iterrows():
        form, ends = str(trial["form"]), (trial["low"], trial["high"])
        label = f"{group} {style.form_style(form).label}"
        score_axes.draw_estimate(axes, trial["y"], trial["shown"], ends, form, label, size=6.5)
    return found[found["beyond"]]
