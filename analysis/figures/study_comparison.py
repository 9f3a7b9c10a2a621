"""Figure: the best of several studies beside each other, each protocol in a panel of its own.

Each study has its baseline and its best contrastive trial, with the 95 % interval over samples;
left is better, and the number at the right is the best less its own study's baseline. A panel
holds what was scored alike: the same data, score, N, sampler, extractor, reference and images
seen. Studies in different panels are not comparable.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrop.analysis.data.compare import (
    FAR,
    PROTOCOL,
    baseline_and_best,
    broken,
    num_samples_column,
)
from diffrop.analysis.data.load import StudyResults, told_apart
from diffrop.analysis.data.words import difference_text, format_count, format_score, score_label
from diffrop.analysis.figures import score_axes, style
from diffrop.analysis.figures.wrapping import text_width_in, wrap_clauses

ROW_IN = 0.38
NAME_IN = 1.4
"""Widest line of a study's name."""
BESIDE_NAMES_IN = 0.25
"""Room of a panel's title at both sides, beside the names."""
BESIDE = 0.12
"""Distance of baseline and best from the middle of their study, where studies are 1 apart."""


def study_comparison_figure(studies: Sequence[StudyResults]) -> Figure:
    """Draw the baseline and the best contrastive trial of each study.

    Returns:
        one axes a protocol, labelled by it, with a line "STUDY baseline" and "STUDY best" for
        each of its studies.

    Raises:
        ValueError: no study has a complete trial.
    """
    rows = comparison(studies)
    if rows.empty:
        raise ValueError("no study has a complete trial, so there is nothing to compare")
    panels = list(rows.groupby("protocol", sort=False))
    sizes = [group["study"].nunique() for _, group in panels]
    figure = style.new_figure(1.0 + ROW_IN * sum(sizes) + 0.95 * len(panels))
    grid = figure.add_gridspec(len(panels), 1, height_ratios=[size + 1 for size in sizes])
    widest = max(text_width_in(name, style.LEGEND_PT) for name in rows["study"])
    title_in = style.WIDTH_IN - min(widest, NAME_IN) - BESIDE_NAMES_IN
    for place, (protocol, group) in enumerate(panels):
        axes = figure.add_subplot(grid[place], label=str(protocol))
        _draw_panel(axes, group)
        title = wrap_clauses(str(protocol), title_in, style.CAPTION_PT)
        axes.set_title(title, fontsize=style.CAPTION_PT, loc="left", parse_math=False)
    style.add_legend(figure, style.form_handles(rows))
    number = "One protocol" if len(panels) == 1 else f"{len(panels)} protocols, not comparable"
    style.add_caption(
        figure,
        f"{number}; bars: 95 % over samples; right: best less baseline; one training seed a trial",
    )
    return figure


def comparison(studies: Sequence[StudyResults]) -> pd.DataFrame:
    """Return the baseline and the best contrastive trial of each study.

    Returns:
        rows of the studies' trials, with `protocol` in words, `objective` and `role` ("baseline"
        or "best"); sorted by protocol, then by the better of a study's two, its best before its
        baseline. Studies of one name also say where they are.

    Raises:
        ValueError: a study is there twice.
    """
    found = []
    for study in told_apart(studies):
        for trial in baseline_and_best(study):
            shared = {
                "role": "baseline" if trial["baseline"] else "best",
                "objective": study.objective,
                "protocol": protocol_text(study, trial),
            }
            found.append(pd.concat([trial, pd.Series(shared)]))
    if not found:
        return pd.DataFrame(columns=["study", "role", "objective", "protocol", "value", "form"])
    table = pd.DataFrame(found)
    best = table.groupby(["protocol", "study"])["value"].transform("min")
    order = {"protocol": True, "least": True, "study": True, "role": False}
    return table.assign(least=best.astype(float)).sort_values(
        list(order), ascending=list(order.values())
    )


def protocol_text(study: StudyResults, trial: pd.Series) -> str:
    """Return all that a trial's score depends on beside its method."""
    factor = study.setting("data.imbalance_factor")
    data = study.setting("data.dataset")
    imbalance = "" if factor is None else f", imbalance {factor:g}"
    count = format_count(trial[num_samples_column(study.objective)])
    scored = ", ".join(str(trial[name]) for name in PROTOCOL if trial[name])
    seen = format_count(trial["images_seen"])
    return (
        f"{score_label(study.objective)}, N = {count}, {scored}; {data}{imbalance}; "
        f"{seen} images seen"
    )


def _draw_panel(axes: Axes, group: pd.DataFrame) -> None:
    names = list(dict.fromkeys(group["study"]))
    shifts = group["role"].map({"best": BESIDE, "baseline": -BESIDE})
    group = group.assign(place=group["study"].map(names.index) + shifts)
    beyond = broken(group["value"].astype(float), times=FAR)
    for _, trial in group[~beyond].iterrows():
        look, place = style.form_style(str(trial["form"])), trial["place"]
        if pd.notna(trial["value_low"]):
            ends = [trial["value_low"], trial["value_high"]]
            axes.plot(ends, [place] * 2, color=look.colour, linewidth=1.6, label="interval")
        axes.plot(
            [trial["value"]],
            [place],
            linestyle="none",
            marker=look.marker,
            markersize=6.5,
            color=look.colour,
            markeredgecolor="white",
            label=f"{trial['study']} {trial['role']}",
        )
    for place, name in enumerate(names):
        axes.annotate(
            _gain_text(group[group["study"] == name]),
            (1.02, place),
            va="center",
            xycoords=axes.get_yaxis_transform(),
            fontsize=style.CAPTION_PT,
        )
    wrapped = [wrap_clauses(name, NAME_IN, style.LEGEND_PT) for name in names]
    axes.set_yticks(range(len(names)), wrapped)
    axes.set_ylim(len(names) - 0.4, -0.6)
    score_axes.scale_scores(axes, group["value"][~beyond].astype(float), "x")
    style.tidy_categories(axes)
    far = group[beyond]
    score_axes.draw_beyond(axes, far["place"], far["form"], map(format_score, far["value"]), "x")
    axes.tick_params(axis="y", labelsize=style.LEGEND_PT)


def _gain_text(group: pd.DataFrame) -> str:
    roles = {trial["role"]: trial for _, trial in group.iterrows()}
    if "best" not in roles:
        return f"baseline {format_score(roles['baseline']['value'])}"
    return difference_text(roles["best"], roles.get("baseline"))
