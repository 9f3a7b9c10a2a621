"""Figure: the objective against tau_0, and against the decay temperature, per form."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrop.analysis.data.compare import (
    baseline_trial,
    beside_baseline,
    contrastive_trials,
)
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.search_study import searched_columns
from diffrop.analysis.data.words import beyond_text, format_score, score_label
from diffrop.analysis.figures import score_axes, style

READING = (
    "The objective of each complete trial less the baseline's, with the 95 % interval over "
    "samples, against what weighs the loss; the ring marks the best. "
    "Below the dashed line a trial scored better than the baseline, each at its own best omega. "
    "Trials that were pruned or failed have no comparable score, so the strip below shows only "
    "their values of the parameter."
)

KEYS = {
    "tau_0": "tau_0",
    "decay_temperature": "decay temperature\n(share of T)",
}
MIN_VALUES = 3
"""Fewer values of a parameter show no course over it."""
STRIP_STATES = ("PRUNED", "FAIL", "RUNNING")
WIDTHS = {"tau_0": 1.6, "decay_temperature": 1.0}
"""Of the panels beside each other."""
STRIP_MARKS = {"PRUNED": None, "FAIL": "x", "RUNNING": "."}
"""None is the form's own marker, left open."""


def applies(study: StudyResults) -> bool:
    """Return whether a parameter has several values."""
    found = contrastive_trials(study)
    return any(found.loc[found[key] > 0, key].nunique() >= MIN_VALUES for key in KEYS)


def _keys(study: StudyResults) -> list[str]:
    """Return the parameters that have a course to show."""
    found = contrastive_trials(study)
    return [key for key in KEYS if found.loc[found[key] > 0, key].nunique() > 1]


def tau_sensitivity_figure(study: StudyResults) -> Figure:
    """Draw the objective of all complete trials against what weighs the contrastive loss.

    Returns:
        axes "tau_0" and "decay_temperature", as far as these vary, each with a line of markers
        per form; below them "tau_0 strip" and "decay_temperature strip" if a trial is not
        complete.
    """
    baseline, keys = baseline_trial(study), _keys(study)
    if not keys:
        score = "" if baseline is None else f" The baseline has {format_score(baseline['value'])}."
        sentence = (
            "No two complete trials have a contrastive loss of unequal tau_0 or decay "
            "temperature, so there is no course over them."
        )
        return style.sentence_figure(study, sentence + score)
    states = [s for s in STRIP_STATES if any(_placed(study.trials, s, key).any() for key in keys)]
    figure = style.new_figure(3.5 + 0.2 * len(states))
    heights = [3.2, 0.23 * len(states)] if states else [1.0]
    widths = [WIDTHS[key] for key in keys]
    grid = figure.add_gridspec(len(heights), len(keys), width_ratios=widths, height_ratios=heights)
    main: list[Axes] = []
    for column, key in enumerate(keys):
        axes = figure.add_subplot(grid[0, column], label=key, sharey=main[0] if main else None)
        main.append(axes)
        _draw_scores(axes, study, key)
        bottom = axes
        if states:
            bottom = figure.add_subplot(grid[1, column], label=f"{key} strip", sharex=axes)
            _draw_strip(bottom, study, key, states)
            bottom.tick_params(labelleft=column == 0)
            axes.tick_params(which="both", labelbottom=False)
        axes.tick_params(labelleft=column == 0)
        bottom.set_xlabel(KEYS[key])
        if key == "tau_0" or searched_columns(study).get(key, {}).get("log"):
            style.set_log(axes, "x")
    words = score_label(study.objective)
    main[0].set_ylabel(words if baseline is None else f"{words}\nless the baseline's")
    main[0].margins(y=0.12)
    trials = beside_baseline(study, contrastive_trials(study))
    has_room = False  # the panels share their scores
    for axes, key in zip(main, keys, strict=True):
        far = trials[trials["beyond"] & (trials[key] > 0)].sort_values("shown")
        texts = [beyond_text(value, baseline is not None) for value in far["shown"]]
        score_axes.draw_beyond(axes, far[key], far["form"], texts, has_room=has_room)
        has_room = has_room or len(far) > 0
    style.add_legend(figure, style.form_handles(study.trials[study.trials["form"] != "none"]))
    of = "" if baseline is None else f"the baseline scored {format_score(baseline['value'])}; "
    style.add_caption(figure, style.caption(study), f"{of}ring: best contrastive trial")
    return figure


def _placed(trials: pd.DataFrame, state: str, key: str) -> pd.Series:
    """Whether a trial has that state and a place on the key's axis (0 has none on a log axis)."""
    return (trials["state"] == state) & (trials[key] > 0)


def _draw_scores(axes: Axes, study: StudyResults, key: str) -> None:
    trials = beside_baseline(study, contrastive_trials(study))
    shown = style.in_form_order(trials[(trials[key] > 0) & ~trials["beyond"]])
    for form, group in shown.groupby("form", sort=False):
        look = style.form_style(str(form))
        known = group[group["low"].notna()]
        axes.vlines(known[key], known["low"], known["high"], color=look.colour, linewidth=1.0)
        axes.plot(
            group[key],
            group["shown"],
            linestyle="none",
            marker=look.marker,
            markersize=6,
            color=look.colour,
            alpha=0.9,
            label=look.label,
        )
    best = trials.iloc[0]
    if best[key] > 0 and not best["beyond"]:
        score_axes.draw_ring(axes, [best[key]], [best["shown"]])
    if baseline_trial(study) is not None:
        score_axes.draw_zero(axes)
    axes.margins(x=0.12)
    style.tidy_axes(axes)


def _draw_strip(axes: Axes, study: StudyResults, key: str, states: list[str]) -> None:
    for height, state in enumerate(reversed(states)):
        trials = study.trials[_placed(study.trials, state, key)]
        for form, group in trials.groupby("form"):
            look = style.form_style(str(form))
            axes.plot(
                group[key],
                [height] * len(group),
                linestyle="none",
                label=state,
                marker=STRIP_MARKS[state] or look.marker,
                markersize=5,
                markerfacecolor="none",
                markeredgecolor=look.colour,
            )
    style.tidy_axes(axes)
    names = {"PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
    axes.set_yticks(range(len(states)), [names[state] for state in reversed(states)])
    axes.set_ylim(-0.6, len(states) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
