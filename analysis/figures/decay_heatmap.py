"""Figure: the objective over tau_0 and the decay temperature, one map for each form."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from diffrop.analysis.data.compare import broken, contrastive_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.search_study import searched_columns
from diffrop.analysis.data.words import format_score, score_label, trials_in_words
from diffrop.analysis.figures import score_axes, style

READING = (
    "The objective over tau_0 and the decay temperature: dark is low, and low is better. "
    "Few trials of a form are drawn as they are, and more of them as cells that show the best of "
    "the trials in them, which are the dots; empty cells were not tried. A dark diagonal would "
    "mean that a slower decay makes up for a weaker tau_0. The ring is the best trial, of each "
    "form where these have panels of their own."
)
MIN_TRIALS = 3
"""Fewer trials in all are no map."""
MIN_MAPPED = 20
"""Fewer trials of a form fill too few cells of its map; they are drawn one by one."""
NUM_CELLS = (5, 4)
"""Along tau_0 and along the decay temperature; coarse, since studies have tens of trials."""
KEYS = ("tau_0", "decay_temperature")
MAX_RATIO = 1.5
"""Scores of this many times the best or more share a colour, so that good ones differ."""


def applies(study: StudyResults) -> bool:
    """Return whether enough trials make a map."""
    return len(contrastive_trials(study)) >= MIN_TRIALS


def decay_heatmap_figure(study: StudyResults) -> Figure:
    """Draw one map for each form with comparable trials, all on one scale of colours.

    Returns:
        axes labelled by form, each with a mesh and the trials as dots, or with the trials in their
        colours where these are few; or, where all forms have few, the axes "trials" with a marker
        for each; and the colour bar's.
    """
    trials = contrastive_trials(study)
    trials = style.in_form_order(trials[(trials[list(KEYS)] > 0).all(axis=1)])
    if trials.empty:
        return style.sentence_figure(
            study, "No complete trial has a tau_0 and a decay temperature, so there is no map."
        )
    if trials["form"].value_counts().max() < MIN_MAPPED:
        return _scatter(study, trials)
    forms = list(dict.fromkeys(trials["form"]))
    num_columns = min(2, len(forms))
    num_rows = -(-len(forms) // num_columns)
    figure = style.new_figure(1.25 + 1.55 * num_rows)
    norm = _norm(trials)
    edges = [cell_edges(study, trials, key, n) for key, n in zip(KEYS, NUM_CELLS, strict=True)]
    mesh: ScalarMappable | None = None
    for place, form in enumerate(forms):
        axes = figure.add_subplot(num_rows, num_columns, place + 1, label=form)
        mesh = _draw_form(axes, form, trials[trials["form"] == form], edges, norm)
        axes.set_title(
            style.form_style(form).label,
            fontsize=style.LEGEND_PT,
            loc="left",
            color=style.form_style(form).colour,
            fontweight="bold",
        )
        style.tidy_axes(axes)
        axes.grid(visible=False)
        axes.tick_params(labelleft=place % num_columns == 0)
        axes.tick_params(labelbottom=place + num_columns >= len(forms))
    figure.supylabel("decay temperature (share of T)", fontsize=style.TEXT_PT)
    assert mesh is not None  # there is a form
    _add_bar(figure, mesh, study, trials)
    for axes in figure.axes[:-1][-num_columns:]:
        axes.set_xlabel("tau_0", fontsize=style.TEXT_PT)
    style.add_caption(figure, style.caption(study), _beyond_note(trials))
    return figure


def _beyond_note(trials: pd.DataFrame) -> str:
    named = trials_in_words(trials[broken(trials["value"])])
    return f"beyond the colours: {named}" if named else ""


def _norm(trials: pd.DataFrame) -> Normalize:
    """Return the scale of colours from the best score on; far worse ones share its end.

    A trial that is broken does not stretch it: the others would be of one colour.
    """
    least = float(trials["value"].min())
    most = float(trials["value"][~broken(trials["value"])].max())
    return Normalize(least, min(most, MAX_RATIO * least))


def _add_bar(
    figure: Figure, drawn: ScalarMappable, study: StudyResults, trials: pd.DataFrame
) -> None:
    assert drawn.norm.vmax is not None
    extend = "max" if trials["value"].max() > drawn.norm.vmax else "neither"
    bar = figure.colorbar(drawn, ax=figure.axes, shrink=0.9, aspect=25, extend=extend)
    bar.set_label(score_label(study.objective), fontsize=style.SMALL_PT)
    bar.ax.tick_params(labelsize=style.SMALL_PT)


def _scatter(study: StudyResults, trials: pd.DataFrame) -> Figure:
    """Draw few trials one by one, each with its form's marker and its score's colour."""
    figure = style.new_figure(3.2)
    axes = figure.add_subplot(label="trials")
    drawn: ScalarMappable | None = None
    for form, group in trials.groupby("form", sort=False):
        drawn = _draw_trials(axes, str(form), group, _norm(trials))
    _draw_ring(axes, trials)
    axes.margins(0.12)
    style.set_log(axes, "x")
    style.set_log(axes, "y")
    axes.set_xlabel("tau_0")
    axes.set_ylabel("decay temperature (share of T)")
    style.tidy_axes(axes)
    assert drawn is not None  # there is a trial
    _add_bar(figure, drawn, study, trials)
    forms = dict.fromkeys(trials["form"])
    handles = [style.form_handle(str(form)) for form in forms]
    for handle in handles:
        handle.set_color(style.NEUTRAL)
    style.add_legend(figure, handles)
    notes = filter(None, ["ring: best contrastive trial", _beyond_note(trials)])
    style.add_caption(figure, style.caption(study), "; ".join(notes))
    return figure


def _draw_trials(axes: Axes, form: str, trials: pd.DataFrame, norm: Normalize) -> ScalarMappable:
    return axes.scatter(
        trials["tau_0"],
        trials["decay_temperature"],
        c=trials["value"],
        norm=norm,
        cmap=style.MAP_COLOURS,
        marker=style.form_style(form).marker,
        s=46,
        linewidths=0,
        label=form,
    )


def _draw_ring(axes: Axes, trials: pd.DataFrame) -> None:
    best = trials.iloc[int(trials["value"].argmin())]
    score_axes.draw_ring(axes, [best["tau_0"]], [best["decay_temperature"]])


def cell_edges(study: StudyResults, trials: pd.DataFrame, key: str, num_cells: int) -> np.ndarray:
    """Return the edges of the cells along one axis: the searched range, in equal factors."""
    low, high = float(trials[key].min()), float(trials[key].max())
    item = searched_columns(study).get(key, {})
    if item.get("low"):
        low, high = min(low, float(item["low"])), max(high, float(item["high"]))
    if low == high:
        low, high = low / 2, high * 2
    edges = np.geomspace(low, high, num_cells + 1)
    edges[[0, -1]] = low, high  # rounding must not put the outermost trial outside
    return edges


def best_in_cells(trials: pd.DataFrame, edges: list[np.ndarray]) -> np.ndarray:
    """Return the least value in each cell, NaN in empty ones; rows run along the second key."""
    best = np.full((len(edges[1]) - 1, len(edges[0]) - 1), np.nan)
    places = [
        np.clip(np.searchsorted(edge, trials[key], side="right") - 1, 0, len(edge) - 2)
        for key, edge in zip(KEYS, edges, strict=True)
    ]
    for column, row, value in zip(*places, trials["value"], strict=True):
        best[row, column] = np.fmin(best[row, column], value)
    return best


def _draw_form(
    axes: Axes, form: str, trials: pd.DataFrame, edges: list[np.ndarray], norm: Normalize
) -> ScalarMappable:
    """Draw one form's trials: as a map, or one by one where they are few."""
    if len(trials) < MIN_MAPPED:
        drawn = _draw_trials(axes, form, trials, norm)
    else:
        drawn = _draw_map(axes, trials, edges, norm)
    _draw_ring(axes, trials)
    axes.annotate(
        format_score(trials["value"].min()),
        (0.98, 1.02),
        xycoords="axes fraction",
        ha="right",
        va="bottom",
        fontsize=style.CAPTION_PT,
    )
    axes.set(xlim=(edges[0][0], edges[0][-1]), ylim=(edges[1][0], edges[1][-1]))
    style.set_log(axes, "x")
    style.set_log(axes, "y")
    return drawn


def _draw_map(
    axes: Axes, trials: pd.DataFrame, edges: list[np.ndarray], norm: Normalize
) -> ScalarMappable:
    """Draw the best score of each cell, and the trials as dots."""
    mesh = axes.pcolormesh(
        *edges,
        best_in_cells(trials, edges),
        norm=norm,
        cmap=style.MAP_COLOURS,
        edgecolors="white",
        linewidth=0.8,
    )
    axes.plot(
        trials["tau_0"],
        trials["decay_temperature"],
        linestyle="none",
        marker="o",
        markersize=3.5,
        color="white",
        markeredgecolor="black",
        markeredgewidth=0.7,
        label="trials",
        clip_on=False,
    )
    return mesh
