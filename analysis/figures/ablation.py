"""What the ablation figures share: one row of trials for each choice, beside the baseline."""

from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrop.analysis.data.compare import (
    baseline_trial,
    beside_baseline,
    comparable_trials,
    meets_constraints,
)
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import beyond_text, difference_text, format_score, score_label
from diffrop.analysis.figures import score_axes, style

ROW_IN = 0.46
"""Height of a row."""


def ablation_figure(
    study: StudyResults, key: str, choices: Sequence[str], label: Callable[[str], str]
) -> Figure:
    """Draw the objective of all comparable trials, one row for each choice of `key`.

    It is drawn as the difference to the baseline, where there is one.

    Args:
        study: has at least one comparable trial.
        key: column of `study.trials` that tells the choices apart.
        choices: the rows below the baseline's, from top to bottom.
        label: a choice in words.

    Returns:
        one axes, where each row has a line "CHOICE" of all its trials and a line "CHOICE best"
        of its best; the baseline is the line "baseline".
    """
    baseline = baseline_trial(study)
    trials = beside_baseline(study, comparable_trials(study))
    rows = {choice: _of_choice(trials, key, choice) for choice in choices}
    figure = style.new_figure(1.2 + ROW_IN * (len(choices) + 1))
    axes = figure.add_subplot(label=key)
    if baseline is not None:
        score_axes.draw_zero(axes, "x")
        _draw_best(axes, 0, "baseline", trials[trials["baseline"]].iloc[0])
    for place, (choice, found) in enumerate(rows.items(), start=1):
        _draw_row(axes, place, choice, found[~found["beyond"]])
    names = [label(choice) + _counts(study, key, choice) for choice in choices]
    axes.set_yticks(range(len(choices) + 1), ["baseline", *names])
    axes.set_ylim(len(choices) + 0.5, -0.6)
    axes.margins(x=0.1)
    words = score_label(study.objective)
    axes.set_xlabel(words if baseline is None else f"{words} less the baseline's")
    style.tidy_categories(axes)
    _write_differences(axes, baseline, rows)
    _draw_far(axes, baseline is not None, rows)
    notes = "large: best of a row, with its 95 % interval over samples"
    if baseline is not None:
        notes += ", paired with the baseline's"
    if not meets_constraints(trials).all():
        notes += "; hollow: breaks a constraint"
    if any(found["beyond"].any() for found in rows.values()):
        notes += "; arrow: beyond the axis"
    style.add_caption(figure, style.caption(study), f"{notes}; one training seed a trial")
    return figure


def _of_choice(trials: pd.DataFrame, key: str, choice: str) -> pd.DataFrame:
    return trials[(trials[key] == choice) & (trials["form"] != "none")]


def _counts(study: StudyResults, key: str, choice: str) -> str:
    """How many of the trials of a choice were scored in full."""
    all_of_it = _of_choice(study.trials, key, choice)
    scored = _of_choice(comparable_trials(study), key, choice)
    return f"\n{len(scored)} of {len(all_of_it)} trials"


def _draw_row(axes: Axes, place: int, choice: str, found: pd.DataFrame) -> None:
    for (form, feasible), group in found.groupby(["form", meets_constraints(found)], sort=False):
        look = style.form_style(str(form))
        axes.plot(
            group["shown"],
            [place] * len(group),
            linestyle="none",
            marker=look.marker,
            markersize=5,
            color=look.colour,
            alpha=0.6,
            markerfacecolor=look.colour if feasible else "none",
            markeredgewidth=0 if feasible else 0.8,
            label=choice,
        )
    if len(found):
        _draw_best(axes, place, f"{choice} best", found.iloc[0])


def _draw_far(axes: Axes, is_difference: bool, rows: dict[str, pd.DataFrame]) -> None:
    """Mark the trials of each row that lie beyond the axis by one arrow."""
    places, forms, texts = [], [], []
    for place, found in enumerate(rows.values(), start=1):
        far = found[found["beyond"]].sort_values("shown")
        at_right = far["number"].isin(found["number"].head(1))  # the best one's number
        places += [place] * len(far)
        forms += list(far["form"])
        texts += [beyond_text(value, is_difference) for value in far["shown"].mask(at_right)]
    score_axes.draw_beyond(axes, places, forms, texts, "x")


def _draw_best(axes: Axes, place: int, label: str, trial: pd.Series) -> None:
    ends = trial["low"], trial["high"]
    score_axes.draw_estimate(axes, place, trial["shown"], ends, str(trial["form"]), label)


def _write_differences(
    axes: Axes, baseline: pd.Series | None, rows: dict[str, pd.DataFrame]
) -> None:
    """Write the baseline's score, and each row's best less it, at the right of the rows."""
    texts = ["" if baseline is None else format_score(baseline["value"])]
    for found in rows.values():
        texts.append(difference_text(found.iloc[0], baseline) if len(found) else "none scored")
    for place, text in enumerate(texts):
        axes.annotate(
            text,
            (1.02, place),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=style.CAPTION_PT,
        )
