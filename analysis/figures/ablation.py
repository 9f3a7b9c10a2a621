"""What the ablation figures share: one row of trials for each choice, beside the baseline."""

from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffrop.analysis.data.compare import baseline_trial, comparable_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import difference_text, format_score, score_label
from diffrop.analysis.figures import style

ROW_IN = 0.46
"""Height of a row."""


def ablation_figure(
    study: StudyResults, key: str, choices: Sequence[str], label: Callable[[str], str]
) -> Figure:
    """Draw the objective of all comparable trials, one row for each choice of `key`.

    Args:
        study: has at least one comparable trial.
        key: column of `study.trials` that tells the choices apart.
        choices: the rows below the baseline's, from top to bottom.
        label: a choice in words.

    Returns:
        one axes, where each row has a line "CHOICE" of all its trials and a line "CHOICE best"
        of its best; the baseline's row is "baseline".
    """
    trials, baseline = comparable_trials(study), baseline_trial(study)
    rows = {choice: _of_choice(trials, key, choice) for choice in choices}
    figure = style.new_figure(1.35 + ROW_IN * (len(choices) + 1))
    axes = figure.add_subplot(label=key)
    if baseline is not None:
        _draw_baseline(axes, baseline)
    for place, (choice, found) in enumerate(rows.items(), start=1):
        _draw_row(axes, place, choice, found)
    names = [label(choice) + _counts(study, key, choice) for choice in choices]
    axes.set_yticks(range(len(choices) + 1), ["baseline", *names])
    axes.set_ylim(len(choices) + 0.5, -0.6)
    style.scale_scores(axes, trials["value"], "x")
    axes.set_xlabel(f"{score_label(study.objective)}, lower is better")
    style.tidy_categories(axes)
    _write_differences(axes, baseline, rows)
    style.add_legend(figure, [*style.form_handles(trials), _best_handle()])
    style.add_caption(
        figure,
        f"{style.caption(study)}; bars: 95 % over samples; right: best less baseline, "
        "95 % paired over samples; one training seed a trial",
    )
    return figure


def _of_choice(trials: pd.DataFrame, key: str, choice: str) -> pd.DataFrame:
    return trials[(trials[key] == choice) & (trials["form"] != "none")]


def _counts(study: StudyResults, key: str, choice: str) -> str:
    """How many of the trials of a choice were scored in full."""
    all_of_it = _of_choice(study.trials, key, choice)
    scored = _of_choice(comparable_trials(study), key, choice)
    return f"\n{len(scored)} of {len(all_of_it)} trials"


def _draw_baseline(axes: Axes, baseline: pd.Series) -> None:
    colour = style.form_style("none").colour
    axes.axvline(baseline["value"], color=colour, linestyle="--", linewidth=0.9, zorder=1)
    _draw_best(axes, 0, "baseline", baseline)


def _draw_row(axes: Axes, place: int, choice: str, found: pd.DataFrame) -> None:
    for form, group in found.groupby("form", sort=False):
        look = style.form_style(str(form))
        axes.plot(
            group["value"],
            [place] * len(group),
            linestyle="none",
            marker=look.marker,
            markersize=5,
            color=look.colour,
            alpha=0.45,
            markeredgewidth=0,
            label=choice,
        )
    if len(found):
        _draw_best(axes, place, f"{choice} best", found.iloc[0])


def _draw_best(axes: Axes, place: int, label: str, trial: pd.Series) -> None:
    look = style.form_style(str(trial["form"]))
    if pd.notna(trial["value_low"]):
        ends = [trial["value_low"], trial["value_high"]]
        axes.plot(ends, [place] * 2, color=look.colour, linewidth=1.8, label="interval")
    axes.plot(
        [trial["value"]],
        [place],
        linestyle="none",
        marker=look.marker,
        markersize=8,
        color=look.colour,
        markeredgecolor="white",
        markeredgewidth=0.8,
        label=label,
    )


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


def _best_handle() -> Line2D:
    return Line2D(
        [],
        [],
        color=style.NEUTRAL,
        marker="o",
        markersize=8,
        linewidth=1.8,
        markeredgecolor="white",
        label="best of a row",
    )
