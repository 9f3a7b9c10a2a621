"""Figure: trials over two scores at once, the front of the best, and what is feasible."""

import itertools

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffrop.analysis.data.compare import (
    broken,
    comparable_trials,
    enough_samples,
    meets_constraints,
    num_samples_column,
)
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import score_label
from diffrop.analysis.figures import score_axes, style
from diffrop.record.names import trial_label
from diffrop.study.objectives import front_ranks

READING = (
    "Each marker is a trial at an omega at which it was scored in full; lower and further left "
    "is better. "
    "Trials whose scores are far above the others' are left out. The line is the front: no "
    "choice that meets the constraints is better than one of its trials in one score without "
    "being worse in another. Hollow markers break a constraint. A study with one objective shows "
    "the scores of the many- and the few-shot classes, which methods for long tails trade "
    "against each other."
)
TRADE = ("fid/many", "fid/few")
"""Shown where the study has a single objective."""
MAX_PAIRS = 3


def applies(study: StudyResults) -> bool:
    """Return whether there are trials to trade against each other."""
    return front_trials(study, front_scores(study))["number"].nunique() >= 2


def pareto_front_figure(study: StudyResults) -> Figure:
    """Draw every pair of objectives, three pairs at most.

    Returns:
        axes labelled "X against Y", with a line of markers for the feasible and one for the
        infeasible trials of each form, and the line "front".
    """
    scores = front_scores(study)
    found = front_trials(study, scores)
    far = found[found[scores].apply(broken).any(axis=1)] if len(found) else found
    trials = found.drop(far.index)
    if trials.empty:
        return style.sentence_figure(
            study, f"No trial is complete with {' and '.join(scores)}, so there is no trade-off."
        )
    pairs = list(itertools.combinations(scores, 2))[:MAX_PAIRS]
    figure = style.new_figure(1.2 + 2.3 * len(pairs))
    for place, (x, y) in enumerate(pairs):
        axes = figure.add_subplot(len(pairs), 1, place + 1, label=f"{x} against {y}")
        for (form, feasible), group in style.in_form_order(trials).groupby(
            ["form", "feasible"], sort=False
        ):
            _draw_trials(axes, str(form), bool(feasible), group, x, y)
        front = trials[trials["front"]].sort_values([x, y])
        axes.step(
            front[x],
            front[y],
            where="post",
            color=style.NEUTRAL,
            linewidth=1.2,
            label="front",
            zorder=1,
        )
        axes.set_xlabel(score_label(x))
        axes.set_ylabel(score_label(y))
        score_axes.widen_scores(axes, "x")
        score_axes.widen_scores(axes, "y")
        style.tidy_axes(axes)
    style.add_legend(figure, [*style.form_handles(trials), *_other_handles(trials)])
    style.add_caption(figure, *_caption(study, scores, trials, far))
    return figure


def front_scores(study: StudyResults) -> list[str]:
    """Return the scores that are traded.

    Those of the study's own front (objectives, and scores with a constraint), or two shot groups.
    """
    if study.front is not None:
        known = [str(name) for name in study.front.columns if "/" in str(name)]
        if len(known) > 1:
            return known
    return study.objectives if len(study.objectives) > 1 else list(TRADE)


def front_trials(study: StudyResults, scores: list[str]) -> pd.DataFrame:
    """Return what can lie on the front, of the comparable trials, with feasible and front.

    The study's own front has a point for every omega that a trial was scored at in full. Where it
    has none, the points are the trials at their omega, and dominance tells the front.
    """
    trials = comparable_trials(study)
    for score in scores:
        trials = trials[enough_samples(trials[num_samples_column(score)])]
    own = study.front
    if own is not None and set(scores) <= set(own.columns):
        alike = own["number"].isin(trials["number"]) & own["sampler"].isin(trials["sampler"])
        points = own[alike].merge(trials[["number", "form"]], on="number")
        return points.assign(feasible=meets_constraints(points))
    if not set(scores) <= set(trials.columns):
        return trials.iloc[:0]
    trials = trials[trials[scores].notna().all(axis=1)]
    trials = trials.assign(feasible=meets_constraints(trials))
    front = trials["feasible"].copy()
    front[front] = front_ranks(trials.loc[front, scores].to_numpy(float)) == 0
    return trials.assign(front=front)


def _draw_trials(
    axes: Axes, form: str, feasible: bool, group: pd.DataFrame, x: str, y: str
) -> None:
    look = style.form_style(form)
    axes.plot(
        group[x],
        group[y],
        linestyle="none",
        marker=look.marker,
        markersize=6.5,
        color=look.colour,
        markerfacecolor=look.colour if feasible else "none",
        label=look.label if feasible else f"{look.label}, infeasible",
    )


def _other_handles(trials: pd.DataFrame) -> list[Line2D]:
    front = Line2D([], [], color=style.NEUTRAL, linewidth=1.2, label="front")
    if trials["feasible"].all():
        return [front]
    return [front, style.hollow_handle("infeasible")]


def _caption(
    study: StudyResults, scores: list[str], trials: pd.DataFrame, far: pd.DataFrame
) -> tuple[str, str]:
    """Return the protocol, and the notes."""
    protocol = style.caption(study, scores=list(dict.fromkeys([study.objective, *scores])))
    limits = study.setting("evaluation.constraints") or []
    notes = [f"feasible: {', '.join(map(str, limits))}"] if limits else []
    notes.append(f"front: {_names(trials[trials['front']]) or 'no feasible trial'}")
    if len(far):
        notes.append(f"left out: {_names(far)}")
    return protocol, "; ".join(notes)


def _names(trials: pd.DataFrame) -> str:
    return ", ".join(map(trial_label, sorted(set(trials["number"]))))
