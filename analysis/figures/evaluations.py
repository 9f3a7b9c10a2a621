"""Figure: scores against evaluations of the network, and what fewer of them cost."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffrop.analysis.data.compare import broken
from diffrop.analysis.data.evaluations import checkpoint_rows, on_front
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import format_score, score_label
from diffrop.analysis.figures import score_axes, style
from diffrop.analysis.figures.omega_panels import spaced_ticks
from diffrop.metrics.protocol import MIN_SHOWN

READING = (
    "Each dot is a way of sampling at its cost, in evaluations of the network for an image; each "
    "line is the Pareto front of one checkpoint. "
    "A way is a sampler with its steps, guidance and average; evaluations for guidance count. On "
    "the front no cheaper way scored better. There is a panel for each rung, whose checkpoints "
    "compare: dots are of the round of the search that tried most ways, on equally many samples "
    "and the same noise. An arrow is the best of a checkpoint far above the others. The best of "
    "many ways on few samples looks a little better than it is."
)
COLUMNS = 2
LABEL = "evaluations of the network for an image"


def applies(study: StudyResults) -> bool:
    """Return whether any checkpoint was scored at two costs."""
    return not _rows(study).empty


def evaluations_figure(study: StudyResults) -> Figure:
    """Draw the first objective of every checkpoint that was scored.

    Returns:
        axes labelled by images seen, with a line of dots and one "front" for each trial.
    """
    rows = _rows(study)
    if rows.empty:
        return style.sentence_figure(
            study,
            f"No checkpoint was scored at two numbers of evaluations on {MIN_SHOWN} samples or "
            "more, so there is no cost to compare.",
        )
    rungs = sorted(rows["images_seen"].unique())
    height = -(-len(rungs) // COLUMNS)
    figure = style.new_figure(0.8 + 2.5 * height)
    for place, images in enumerate(rungs):
        own = rows[rows["images_seen"] == images]
        axes = figure.add_subplot(
            height, min(COLUMNS, len(rungs)), place + 1, label=f"{images:,} images"
        )
        best = own.groupby("number")["value"].min()
        beyond = own["number"].map(broken(best))
        near = style.in_form_order(own[~beyond])
        for (form, _), trial in near.groupby(["form", "number"], sort=False):
            _draw(axes, str(form), trial)
        count = int(own["num_samples"].max())
        title = f"{score_label(study.objective)}\n{images:,} images seen, N = {count:,}"
        axes.set_title(title, fontsize=style.LEGEND_PT, loc="left")
        axes.set_xlabel(LABEL if len(rungs) == 1 else LABEL.replace(" the ", " the\n"))
        _scale_costs(axes, sorted(own["evaluations"].unique()))
        score_axes.scale_scores(axes, near["value"])
        style.tidy_axes(axes)
        far = own[beyond].sort_values("value").drop_duplicates("number")
        texts = map(format_score, far["value"])
        score_axes.draw_beyond(axes, far["evaluations"], far["form"], texts)
    figure.axes[0].set_ylabel("FID")
    front = Line2D([], [], color=style.NEUTRAL, linewidth=1.2, label="front of a checkpoint")
    style.add_legend(figure, [*style.form_handles(rows), front])
    style.add_caption(figure, style.caption(study, scores=[study.objective]))
    return figure


def _rows(study: StudyResults) -> pd.DataFrame:
    """Return the rows of `checkpoint_rows` of the rungs where a checkpoint has two costs."""
    rows = checkpoint_rows(study)
    costs = rows.groupby(["number", "images_seen"])["evaluations"].transform("nunique")
    return rows[costs.groupby(rows["images_seen"]).transform("max") > 1]


def _scale_costs(axes: Axes, costs: list[int]) -> None:
    """Make the axis of the costs logarithmic, and name those that have room beside each other."""
    if len(costs) > 1:
        style.set_log(axes, "x")
        axes.minorticks_off()
    ticks = [round(math.exp(place)) for place in spaced_ticks([math.log(cost) for cost in costs])]
    axes.set_xticks(ticks, [f"{cost:,}" for cost in ticks])


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
