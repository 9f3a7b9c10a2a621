"""Figure: whether the early rungs ranked the trials as the end of training does."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import kendalltau

from diffrop.analysis.data.compare import comparable_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.rounds import measured
from diffrop.analysis.data.words import format_count
from diffrop.analysis.figures import score_axes, style
from diffrop.record.rung_agreement import RungAgreement

READING = (
    "Ranks of the trials that were scored in full, at a rung and at the end; on the diagonal the "
    "rung was right. "
    "1 is best. Kendall's tau is 1 for the same order and 0 for none, with its interval where "
    "the study computed one. Ringed trials would have been stopped by the rule and ran on to "
    "check it. Trials that were stopped have no final rank, so without ringed ones tau describes "
    "the survivors alone."
)
MIN_TRIALS = 3
"""Fewer trials have no order worth a figure."""
NUM_COLUMNS = 2


def applies(study: StudyResults) -> bool:
    """Return whether a rung has enough trials with a final rank."""
    return not rung_ranks(study).empty


def rung_ranks_figure(study: StudyResults) -> Figure:
    """Draw final ranks against the ranks at each rung.

    Returns:
        axes labelled by the rung's images, with one line of markers a form.
    """
    ranks = rung_ranks(study)
    if ranks.empty:
        return style.sentence_figure(
            study,
            f"No rung has {MIN_TRIALS} trials that were later scored in full, so nothing says "
            "whether stopping was right.",
        )
    rungs = list(ranks.groupby("images"))
    columns = min(NUM_COLUMNS, len(rungs))
    num_rows = -(-len(rungs) // columns)
    figure = style.new_figure(1.6 + 2.2 * num_rows)
    for place, (images, found) in enumerate(rungs):
        axes = figure.add_subplot(num_rows, columns, place + 1, label=str(images))
        _draw_rung(axes, found)
        axes.set_title(
            _rung_title(study, int(str(images)), found), fontsize=style.LEGEND_PT, loc="left"
        )
        axes.set_xlabel("rank at the rung")
        axes.set_ylabel("final rank" if place % columns == 0 else "")
        style.tidy_axes(axes)
    style.add_legend(figure, [*style.form_handles(ranks), *_ring_handle(ranks)])
    conclusion = study.agreement.conclusion if study.agreement else ""
    notes = ["each rung with its own N", *([conclusion.rstrip(".")] if conclusion else [])]
    style.add_caption(figure, style.caption(study), "; ".join(notes))
    return figure


def rung_ranks(study: StudyResults) -> pd.DataFrame:
    """Return the ranks of the comparable trials at every rung that three or more were scored at.

    Returns:
        columns number, form, audited, images, num_samples, rung_rank and final_rank, the ranks
        among the trials of that rung.
    """
    final = comparable_trials(study)[["number", "form", "value", "audited_at"]]
    rows = measured(study, study.objective)
    full = rows.groupby(["number", "images_seen"])["round_samples"].transform("max")
    rows = rows[~rows["final"] & (rows["round_samples"] == full)]
    at_rung = rows.groupby(["number", "images_seen"], as_index=False).agg(
        rung_value=("value", "min"), num_samples=("num_samples", "first")
    )
    found = at_rung.merge(final, on="number").rename(columns={"images_seen": "images"})
    # A rung scored at another N, as after a change of it, would not compare within the rung.
    common = found.groupby("images")["num_samples"].transform(lambda counts: counts.mode().iloc[0])
    found = found[found["num_samples"] == common]
    groups = found.groupby("images")
    found = found.assign(
        rung_rank=groups["rung_value"].rank(),
        final_rank=groups["value"].rank(),
        audited=found["audited_at"].notna(),
    )
    found = found[groups["number"].transform("size") >= MIN_TRIALS]
    names = ["number", "form", "audited", "images", "num_samples", "rung_rank", "final_rank"]
    return found[names].reset_index(drop=True)


def _draw_rung(axes: Axes, found: pd.DataFrame) -> None:
    end = len(found) + 0.6
    axes.plot(
        [0.4, end], [0.4, end], color=style.NEUTRAL, linewidth=0.8, label="same rank", zorder=1
    )
    for form, group in style.in_form_order(found).groupby("form", sort=False):
        look = style.form_style(str(form))
        axes.plot(
            group["rung_rank"],
            group["final_rank"],
            linestyle="none",
            marker=look.marker,
            markersize=5.5,
            color=look.colour,
            label=look.label,
        )
    audited = found[found["audited"]]
    if len(audited):
        score_axes.draw_ring(axes, audited["rung_rank"], audited["final_rank"], label="audited")
    step = max(1, -(-len(found) // 6))
    ticks = range(1, len(found) + 1, step)
    axes.set(xlim=(0.4, end), ylim=(0.4, end), xticks=ticks, yticks=ticks)
    axes.set_box_aspect(1)


def _rung_title(study: StudyResults, images: int, found: pd.DataFrame) -> str:
    """Return the rung with its N, and Kendall's tau as fidelity.json has it, or of these ranks."""
    count = format_count(found["num_samples"].iloc[0])
    lines = [f"{images:,} images, N = {count}"]
    stored = _stored_rung(study, images)
    if stored is None:
        tau = kendalltau(found["rung_rank"], found["final_rank"]).statistic
        lines.append(f"tau {tau:.2f}, no interval ({len(found)} trials)")
    else:
        ends = ""
        if stored.low is not None and stored.high is not None:
            ends = f" [{stored.low:.2f}, {stored.high:.2f}]"
        lines.append(f"tau {stored.tau:.2f}{ends}")
        lines.append(f"{stored.num_trials} trials, {stored.num_audited} audited")
    return "\n".join(lines)


def _stored_rung(study: StudyResults, images: int) -> RungAgreement | None:
    """Return a rung's stored agreement, None where its tau is unknown."""
    rungs = study.agreement.rungs if study.agreement else ()
    return next((row for row in rungs if row.images == images and row.tau is not None), None)


def _ring_handle(ranks: pd.DataFrame) -> list[Line2D]:
    if not ranks["audited"].any():
        return []
    label = "audited"
    return [
        Line2D([], [], linestyle="none", marker="o", ms=9, mfc="none", color="black", label=label)
    ]
