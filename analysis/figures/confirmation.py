"""Figure: the leaders trained again with fresh seeds, each seed less the baseline's."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import score_label
from diffrop.analysis.figures import score_axes, style
from diffrop.record.confirmation import ConfirmationRecord

READING = (
    "The leaders, trained again with fresh seeds, less the baseline on the same seed; left of 0 "
    "is better. "
    "Small markers are single seeds, large ones their mean with its interval. These gains are "
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
    for place, leader in enumerate(leaders):
        form = _form(study, leader.trial)
        look = style.form_style(form)
        seeds, mean = leader.by_seed, leader.mean or 0.0
        axes.plot(
            seeds,
            [place] * len(seeds),
            linestyle="none",
            marker=look.marker,
            markersize=5,
            color=look.colour,
            alpha=0.45,
            markeredgewidth=0,
            label=leader.name,
        )
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
    style.add_legend(figure, _handles())
    style.add_caption(figure, style.caption(study), _notes(found))
    return figure


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
