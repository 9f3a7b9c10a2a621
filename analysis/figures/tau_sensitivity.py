"""Figure: the objective against tau_0, and against the decay temperature, per form."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrop.analysis.data.compare import (
    baseline_trial,
    beside_baseline,
    broken,
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
STRIP_STATES = ("PRUNED", "FAIL", "RUNNING")
STRIP_MARKS = {"PRUNED": None, "FAIL": "x", "RUNNING": "."}
"""None is the form's own marker, left open."""


def tau_sensitivity_figure(study: StudyResults) -> Figure:
    """Draw the objective of all complete trials against what weighs the contrastive loss.

    Returns:
        axes "tau_0" and "decay_temperature", each with a line of markers per form; below them
        "tau_0 strip" and "decay_temperature strip" if a trial is not complete.
    """
    baseline = baseline_trial(study)
    if not (contrastive_trials(study)["tau_0"] > 0).any():
        score = "" if baseline is None else f" The baseline has {format_score(baseline['value'])}."
        sentence = "No complete trial has a contrastive loss and a tau_0, so there is no curve."
        return style.sentence_figure(study, sentence + score)
    states = [s for s in STRIP_STATES if _placed(study.trials, s, "tau_0").any()]
    figure = style.new_figure(3.5 + 0.2 * len(states))
    heights = [3.2, 0.23 * len(states)] if states else [1.0]
    grid = figure.add_gridspec(len(heights), 2, width_ratios=(1.6, 1), height_ratios=heights)
    main: list[Axes] = []
    for column, (key, label) in enumerate(KEYS.items()):
        axes = figure.add_subplot(grid[0, column], label=key, sharey=main[0] if main else None)
        main.append(axes)
        _draw_scores(axes, study, key)
        bottom = axes
        if states:
            bottom = figure.add_subplot(grid[1, column], label=f"{key} strip", sharex=axes)
            _draw_strip(bottom, study, key, states)
            axes.tick_params(which="both", labelbottom=False)
        bottom.set_xlabel(label)
        if key == "tau_0" or searched_columns(study).get(key, {}).get("log"):
            style.set_log(axes, "x")
    words = score_label(study.objective)
    main[0].set_ylabel(words if baseline is None else f"{words}\nless the baseline's")
    main[1].tick_params(labelleft=False)
    if states:
        figure.axes[3].tick_params(labelleft=False)
    main[0].margins(y=0.12)
    style.add_legend(figure, style.form_handles(study.trials[study.trials["form"] != "none"]))
    of = "" if baseline is None else f"the baseline scored {format_score(baseline['value'])}; "
    style.add_caption(figure, style.caption(study), f"{of}ring: best contrastive trial")
    return figure


def _placed(trials: pd.DataFrame, state: str, key: str) -> pd.Series:
    """Whether a trial has that state and a place on the key's axis (0 has none on a log axis)."""
    return (trials["state"] == state) & (trials[key] > 0)


def _draw_scores(axes: Axes, study: StudyResults, key: str) -> None:
    trials = beside_baseline(study, contrastive_trials(study))
    beyond = broken(trials["value"]) & (trials[key] > 0)
    shown = style.in_form_order(trials[(trials[key] > 0) & ~beyond])
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
    if best[key] > 0:
        score_axes.draw_ring(axes, [best[key]], [best["shown"]])
    far = trials[beyond]
    is_difference = baseline_trial(study) is not None
    texts = [beyond_text(value, is_difference) for value in far["shown"]]
    if is_difference:
        score_axes.draw_zero(axes)
    score_axes.draw_beyond(axes, far[key], far["form"], texts)
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
