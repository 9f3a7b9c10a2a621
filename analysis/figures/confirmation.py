"""Figure: the leaders trained again with fresh seeds, each seed less the baseline's."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffrop.analysis.data.compare import broken
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import beyond_text, score_label
from diffrop.analysis.figures import score_axes, style
from diffrop.record.confirmation import ConfirmationRecord, ConfirmedLeader

READING = (
    "The leaders, trained again with fresh seeds, less the baseline on the same seed; left of 0 "
    "is better. "
    "Small markers are single seeds, large ones their mean with its interval. An arrow is a seed "
    "whose training went wrong; the mean that it moves is not drawn. These gains are "
    "not inflated by selection, as those that the search itself found are."
)
ROW_IN = 0.42


def applies(study: StudyResults) -> bool:
    """Return whether trials were trained again."""
    return study.confirmation is not None and bool(study.confirmation.leaders)


def confirmation_figure(study: StudyResults) -> Figure:
    """Draw the differences of every leader that was trained again.

    Returns:
        one axes with a line "NAME" of the seeds and a line "NAME mean" for each leader.
    """
    found = study.confirmation
    leaders = [leader for leader in found.leaders if leader.by_seed] if found else []
    if found is None or not leaders:
        return style.sentence_figure(study, "No leader was trained again with fresh seeds.")
    figure = style.new_figure(1.5 + ROW_IN * len(leaders))
    axes = figure.add_subplot(label="differences")
    score_axes.draw_zero(axes, "x")
    seeds = seed_differences(found)
    for place, leader in enumerate(leaders):
        form = _form(study, leader.trial)
        look = style.form_style(form)
        mean = leader.mean or 0.0
        near = seeds.loc[(seeds["place"] == place) & (seeds["end"] == ""), "shown"]
        axes.plot(
            near,
            [place] * len(near),
            linestyle="none",
            marker=look.marker,
            markersize=5,
            color=look.colour,
            alpha=0.45,
            markeredgewidth=0,
            label=leader.name,
        )
        if len(near) == len(leader.by_seed):
            ends = leader.low, leader.high
            score_axes.draw_estimate(axes, place, mean, ends, form, f"{leader.name} mean")
        axes.annotate(
            f"{mean:+.2f}",
            (1.02, place),
            va="center",
            fontsize=style.CAPTION_PT,
            xycoords=axes.get_yaxis_transform(),
        )
    axes.set_yticks(range(len(leaders)), [leader.name for leader in leaders])
    axes.set_ylim(len(leaders) - 0.5, -0.5)
    axes.set_xlabel(f"{score_label(found.objective)} less the baseline's")
    style.tidy_categories(axes)
    _draw_far(axes, study, leaders, seeds)
    style.add_legend(figure, _handles())
    arrows = "" if (seeds["end"] == "").all() else "; arrow: seeds beyond the axis"
    style.add_caption(figure, style.caption(study), _notes(found) + arrows)
    return figure


def seed_differences(found: ConfirmationRecord) -> pd.DataFrame:
    """Return every seed of the leaders that were trained again, and which of them went wrong.

    Returns:
        columns place (of the leader), shown (its difference to the baseline) and end: "high" where
        the leader is so far above the baseline's usual score that its training is broken, "low"
        where the baseline on that seed is, else "".
    """
    leaders = [leader for leader in found.leaders if leader.by_seed]
    rows = [(place, value) for place, one in enumerate(leaders) for value in one.by_seed]
    seeds = pd.DataFrame(rows, columns=["place", "shown"])
    levels = pd.Series(found.baseline.values, dtype=float)
    usual = levels.quantile(0.5, interpolation="lower")
    high, low = broken(seeds["shown"] + usual, levels), seeds["shown"] < -usual
    return seeds.assign(end=np.select([high, low], ["high", "low"], ""))


def _draw_far(
    axes: Axes, study: StudyResults, leaders: list[ConfirmedLeader], seeds: pd.DataFrame
) -> None:
    """Mark the seeds that went wrong at the ends of the axis."""
    far = seeds[seeds["end"] != ""]
    for end, group in far.sort_values("shown").groupby("end"):
        forms = [_form(study, leaders[place].trial) for place in group["place"]]
        texts = [beyond_text(value, True) for value in group["shown"]]
        score_axes.draw_beyond(axes, group["place"], forms, texts, "x", below=end == "low")


def _form(study: StudyResults, number: int) -> str:
    forms = study.trials.loc[study.trials["number"] == number, "form"]
    return "" if forms.empty else str(forms.iloc[0])


def _handles() -> list[Line2D]:
    seed = Line2D(
        [],
        [],
        linestyle="none",
        marker="o",
        ms=5,
        color=style.NEUTRAL,
        alpha=0.5,
        label="one seed",
    )
    mean = Line2D(
        [],
        [],
        marker="o",
        ms=8,
        color=style.NEUTRAL,
        linewidth=1.8,
        markeredgecolor="white",
        label="mean, with its interval",
    )
    return [seed, mean]


def _notes(found: ConfirmationRecord) -> str:
    level = f"{100 * (1 - found.alpha):g} % over seeds"
    repeated = ", repeated at every look" if found.repeated else ""
    text = f"{len(found.seeds)} seeds, intervals {level}{repeated}"
    if found.conditional_on_prefix:
        text += "; all share the trunk of their training, whose seed no interval holds"
    return f"{text}; {found.conclusion.rstrip('.')}"
