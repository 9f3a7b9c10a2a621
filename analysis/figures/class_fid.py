"""Figure: FID of each class, of the baseline and of the best contrastive trial."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrop.analysis.data.classes import class_scores
from diffrop.analysis.data.compare import FAR, baseline_and_best, broken
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import format_count
from diffrop.analysis.figures import score_axes, style
from diffrop.record.names import trial_label

READING = (
    "FID of the samples of each class, of the baseline and of the best contrastive trial, from "
    "the most frequent class to the rarest. "
    "Lower is better. Each class is compared with its own real images, so compare the two markers "
    "of a class, not classes with each other. The intervals are over the samples of each trial by "
    "itself: they are wider than one of the difference, which shares its noise, would be. Single "
    "classes have few samples; the shot groups say more."
)
MAX_NAMED = 20
"""More classes than these are counted, not named."""
BESIDE = 0.16
"""Distance of a trial's markers from the middle of their class, where classes are 1 apart."""


def applies(study: StudyResults) -> bool:
    """Whether classes had samples enough for scores of their own."""
    return any(len(class_scores(study, trial)) for trial in baseline_and_best(study))


def class_fid_figure(study: StudyResults) -> Figure:
    """Draw the FID of each class.

    Returns:
        one axes with a line for each trial, labelled like "t001 reciprocal".
    """
    trials = baseline_and_best(study)
    found = [class_scores(study, trial) for trial in trials]
    if not any(map(len, found)):
        return style.sentence_figure(
            study,
            "No complete trial has scores of single classes: these take 100 samples and 100 real "
            "images of a class.",
        )
    figure = style.new_figure(2.9)
    axes = figure.add_subplot(label="class_fid")
    found = [
        scores.assign(
            place=scores.index + BESIDE * (2 * order + 1 - len(trials)), form=trial["form"]
        )
        for order, (trial, scores) in enumerate(zip(trials, found, strict=True))
    ]
    levels = pd.concat(found)["value"]
    for trial, scores in zip(trials, found, strict=True):
        _draw(axes, trial, scores[~broken(scores["value"], levels, FAR)])
    classes = next(scores for scores in found if len(scores))
    score_axes.scale_scores(axes, levels[~broken(levels, times=FAR)])
    axes.set_ylabel("FID of the class")
    style.tidy_categories(axes, "x")
    if len(classes) <= MAX_NAMED:
        axes.set_xticks(range(len(classes)), [_name(row) for _, row in classes.iterrows()])
    far = pd.concat(scores[broken(scores["value"], levels, FAR)] for scores in found)
    texts = [f"{value:,.0f}" for value in far["value"]]
    score_axes.draw_beyond(axes, far.index, far["form"], texts)
    known = classes["images"].notna().all()
    order = "class, the most frequent first" if known else "class, in label order"
    counts = "; below it its training images" if known and len(classes) <= MAX_NAMED else ""
    axes.set_xlabel(order + counts)
    style.add_legend(figure, style.form_handles(pd.DataFrame(trials)))
    notes = [
        f"N = {format_count(classes['num_samples'].max())} a class",
        "bars: 95 % over samples, of each trial by itself",
        "one training seed a trial",
        *(["arrow: beyond the axis"] if len(far) else []),
    ]
    style.add_caption(figure, f"trials scored by {style.caption(study)}", "; ".join(notes))
    return figure


def _name(row: pd.Series) -> str:
    return str(row["name"]) + ("" if pd.isna(row["images"]) else f"\n{row['images']:,}")


def _draw(axes: Axes, trial: pd.Series, scores: pd.DataFrame) -> None:
    look, places = style.form_style(str(trial["form"])), scores["place"]
    axes.vlines(places, scores["low"].clip(lower=0), scores["high"], color=look.colour, lw=1.4)
    axes.plot(
        places,
        scores["value"],
        linestyle="none",
        marker=look.marker,
        markersize=5.5 if len(scores) <= MAX_NAMED else 3,
        color=look.colour,
        markeredgecolor="white",
        markeredgewidth=0.6,
        label=f"{trial_label(trial['number'])} {look.label}",
    )
