"""Figure: scores against evaluations of the network, and what fewer of them cost."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffrop.analysis.data.evaluations import checkpoint_rows, on_front
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import score_label
from diffrop.analysis.figures import score_axes, style

READING = (
    "Each dot is a way of sampling at its cost, in evaluations of the network for an image; each "
    "line is the Pareto front of one checkpoint. "
    "A way is a sampler with its steps, guidance and average; evaluations for guidance count. On "
    "the front no cheaper way scored better. There is a panel for each rung, whose checkpoints "
    "compare: dots are of the round of the search that tried most ways, on equally many samples "
    "and the same noise. The best of many ways on few samples looks a little better than it is."
)
COLUMNS = 2


def applies(study: StudyResults) -> bool:
    """Return whether any checkpoint was scored at two costs."""
    rows = checkpoint_rows(study)
    return bool((rows.groupby(["number", "images_seen"])["evaluations"].nunique() > 1).any())


def evaluations_figure(study: StudyResults) -> Figure:
    """Draw the first objective of every checkpoint that was scored.

    Returns:
        axes labelled by images seen, with a line of dots and one "front" for each trial.
    """
    rows = checkpoint_rows(study)
    if rows.empty:
        return style.sentence_figure(
            study, "No score says how many evaluations an image took, so there is no cost to show."
        )
    rungs = sorted(rows["images_seen"].unique())
    height = -(-len(rungs) // COLUMNS)
    figure = style.new_figure(0.8 + 2.5 * height)
    for place, images in enumerate(rungs):
        own = rows[rows["images_seen"] == images]
        axes = figure.add_subplot(
            height, min(COLUMNS, len(rungs)), place + 1, label=f"{images:,} images"
        )
        for (form, _), trial in style.in_form_order(own).groupby(["form", "number"], sort=False):
            _draw(axes, str(form), trial)
        count = int(own["num_samples"].max())
        title = f"{score_label(study.objective)}\n{images:,} images seen, N = {count:,}"
        axes.set_title(title, fontsize=style.LEGEND_PT, loc="left")
        axes.set_xlabel("evaluations of the network for an image")
        if own["evaluations"].nunique() > 1:
            style.set_log(axes, "x")
        score_axes.scale_scores(axes, own["value"])
        style.tidy_axes(axes)
    figure.axes[0].set_ylabel("FID")
    front = Line2D([], [], color=style.NEUTRAL, linewidth=1.2, label="front of a checkpoint")
    style.add_legend(figure, [*style.form_handles(rows), front])
    style.add_caption(figure, style.caption(study, scores=[study.objective]))
    return figure


def _draw(axes: Axes, form: str, rows: pd.DataFrame) -> None:
    look = style.form_style(form)
    axes.plot(
        rows["evaluations"],
        rows["value"],
        linestyle="none",
        marker=look.marker,
        markersize=4,
        color=look.colour,
        alpha=0.5,
        label=look.label,
    )
    front = rows[on_front(rows)].sort_values("evaluations")
    axes.step(
        front["evaluations"],
        front["value"],
        where="post",
        color=look.colour,
        linewidth=1.2,
        label="front",
    )
