"""The look of all figures: one colour and marker a form, and the protocol under each."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, get_args

import matplotlib
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from diffrop.analysis.data.compare import comparable_trials, num_incomparable, num_samples_column
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import format_count
from diffrop.analysis.figures.wrapping import text_width_in, wrap_clauses
from diffrop.config import DiffusionConfig, Form, SamplingConfig
from diffrop.printable import printable
from diffrop.samplers import sampler_name
from diffrop.storage import written_atomically

WIDTH_IN = 4.2
"""Width of every figure; at one column's 3.3 inches no text is below 6 points."""
TEXT_PT = 9.0
SMALL_PT = 8.2
LEGEND_PT = 8.0
CAPTION_PT = 7.7
PNG_DPI = 200
MARGIN_IN = 0.05
LINE_IN = 0.15
"""Height of a line of a caption or legend."""
CAPTION_LINES = 3
LEGEND_ROWS = 2
"""Heights of figures allow for so many lines; more make a figure higher."""
WORDS = "words"
"""Label of the axes of a figure that is a sentence."""
LEGEND_HANDLE_IN = 0.42
"""Room of a legend's entry beside its text."""


@dataclass(frozen=True)
class FormStyle:
    """How one form of the contrastive loss is drawn and called."""

    colour: str
    marker: str
    label: str


# Okabe and Ito (2008), safe for colour-blind readers; their yellow is too pale for lines.
FORM_STYLES = {
    "none": FormStyle("#000000", "s", "baseline"),
    "negative_l2": FormStyle("#E69F00", "v", "negative_l2"),
    "hinge": FormStyle("#009E73", "D", "hinge"),
    "reciprocal": FormStyle("#0072B2", "o", "reciprocal"),
    "exponential": FormStyle("#CC79A7", "^", "exponential"),
}
ADDED_COLOURS = ("#8A5A00", "#882255", "#332288", "#999933")
ADDED_MARKERS = ("X", "p", "h", "<", ">")
"""Of forms without a style above, in the order of `diffrop.config.Form`."""
NEUTRAL = "#808080"
OTHER_COLOURS = ("#56B4E9", "#D55E00", "#F0E442", NEUTRAL)
"""Okabe and Ito's that are no method's, for parts of a cost or kinds of pairs."""
PAPER = "#fefefe"
"""Behind numbers that stand on a grid; a page that shows a figure puts its own colour there."""
ON_GRID = {"boxstyle": "square,pad=0.1", "facecolor": PAPER, "linewidth": 0}
"""The box of such a number."""
MAP_COLOURS = "cividis"
"""Of maps of scores: dark is low, which is good, also without colour."""


def form_style(form: str) -> FormStyle:
    """Return a form's style.

    A form without an entry in `FORM_STYLES` takes the next free colour and marker, and its own
    name; one that this version does not know at all is grey.
    """
    if form in FORM_STYLES:
        return FORM_STYLES[form]
    added = [name for name in get_args(Form) if name not in FORM_STYLES]
    if form not in added:
        return FormStyle(NEUTRAL, "P", form)
    place = added.index(form)
    colour = ADDED_COLOURS[place % len(ADDED_COLOURS)]
    return FormStyle(colour, ADDED_MARKERS[place % len(ADDED_MARKERS)], form)


def in_form_order(trials: pd.DataFrame) -> pd.DataFrame:
    """Return trials with the forms in the one order that all figures use."""
    order = {form: place for place, form in enumerate(get_args(Form))}
    return trials.sort_values("form", key=lambda forms: forms.map(order), kind="stable")


def caption(study: StudyResults, *, scores: Sequence[str] = (), before: str = "FID") -> str:
    """Return the protocol: extractor, N, sampler, dataset, imbalance factor and images seen.

    Args:
        study: whose complete trials are shown; before there are any, its settings are taken.
        scores: drawn in the figure, to give the N of each; the objective if empty.
        before: what was measured, as in "FID" on classifier-digits.
    """
    data = _data_text(study)
    images = format_count(study.setting("training.num_images"))
    trials = comparable_trials(study)
    if trials.empty:
        return f"{_plan(study, before)}; {data}; {images} images; planned, no trial is complete"
    counts = _num_samples_text(trials, scores or [study.objective])
    first = trials.iloc[0]
    protocol = [f"{before} on {first['extractor']}", counts, first["sampler"]]
    if first["reference"]:
        protocol.append(f"against the {first['reference']}")
    images = format_count(trials["images_seen"].max())
    left_out = num_incomparable(study)
    note = f"; {left_out} complete without a comparable score" if left_out else ""
    return f"{', '.join(part for part in protocol if part)}; {data}; {images} images seen{note}"


def _data_text(study: StudyResults) -> str:
    """Return "digits, imbalance 0.1", or what of it is known."""
    dataset = study.setting("data.dataset") or "data set unknown"
    if "imbalance_factor" not in (study.config["experiment"].get("data") or {}):
        return str(dataset)
    factor = study.setting("data.imbalance_factor")
    imbalance = "the data's own imbalance" if factor is None else f"imbalance {factor:g}"
    return f"{dataset}, {imbalance}"


def _plan(study: StudyResults, before: str) -> str:
    experiment = study.config["experiment"]
    sampling = SamplingConfig.from_dict(experiment.get("sampling") or {})
    diffusion = DiffusionConfig.from_dict(experiment.get("diffusion") or {})
    sampler = sampler_name(sampling, diffusion.num_timesteps)
    count = format_count(study.setting("evaluation.num_samples"))
    return f"{before} on {study.setting('evaluation.extractor')}, N = {count}, {sampler}"


def _num_samples_text(trials: pd.DataFrame, scores: Sequence[str]) -> str:
    """Return "N = 1,000 (300 per shot group)" or what of it is known of the scores' groups."""
    columns = [num_samples_column(score) for score in scores]
    counts = {
        column.rpartition("/")[2]: int(trials[column].dropna().iloc[0])
        for column in dict.fromkeys(columns)
        if column in trials and trials[column].notna().any()
    }
    whole = counts.pop("all", None)
    parts = [f"{count:,} {group}-shot" for group, count in counts.items()]
    if len(set(counts.values())) == 1:
        parts = [f"{min(counts.values()):,} per shot group"]
    shots = ", ".join(parts)
    if whole is None:
        return f"N = {shots}" if shots else ""
    return f"N = {whole:,} ({shots})" if shots else f"N = {whole:,}"


def new_figure(height_in: float) -> Figure:
    """Return an empty figure of the common width, free of pyplot's global state."""
    return Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def add_caption(figure: Figure, protocol: str, notes: str = "") -> None:
    """Write the caption under a figure's axes, which grows by long ones; "$" is no formula.

    Args:
        figure: keeps the notes as its label, for a page that shows the protocol once.
        protocol: as `caption` returns it.
        notes: what else must be known of this figure.
    """
    figure.set_label(notes)
    text = "; ".join(filter(None, [protocol, notes]))
    width = WIDTH_IN - 2 * MARGIN_IN
    wrapped = "\n".join(wrap_clauses(line, width, CAPTION_PT) for line in text.split("\n"))
    figure.supxlabel(
        wrapped, x=MARGIN_IN / WIDTH_IN, ha="left", fontsize=CAPTION_PT, parse_math=False
    )
    _grow(figure, wrapped.count("\n") + 1 - CAPTION_LINES)


def remove_caption(figure: Figure) -> str:
    """Take a figure's caption away with its room, so that the axes keep their size.

    Returns:
        the notes, without the protocol.
    """
    num_lines = figure.get_supxlabel().count("\n") + 1
    if figure.get_supxlabel():
        figure.set_figheight(figure.get_figheight() - LINE_IN * num_lines)
    figure.supxlabel("")
    return str(figure.get_label())


def add_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Write the legend above all axes, where it covers no data."""
    widest = max((text_width_in(str(h.get_label()), LEGEND_PT) for h in handles), default=0.0)
    fitting = max(1, int((WIDTH_IN - 2 * MARGIN_IN) / (widest + LEGEND_HANDLE_IN)))
    num_rows = -(-len(handles) // fitting)
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=-(-len(handles) // max(1, num_rows)),
        frameon=False,
        fontsize=LEGEND_PT,
        columnspacing=1.0,
        handletextpad=0.3,
        borderaxespad=0.2,
    )
    _grow(figure, num_rows - LEGEND_ROWS)


def _grow(figure: Figure, num_lines: int) -> None:
    """Make room for lines beyond those that a figure's height allows for."""
    if num_lines > 0:
        figure.set_figheight(figure.get_figheight() + LINE_IN * num_lines)


def form_handle(form: str, *, line: bool = False) -> Line2D:
    """Return a form's legend entry."""
    style = form_style(form)
    return Line2D(
        [],
        [],
        color=style.colour,
        marker=style.marker,
        label=style.label,
        linestyle="-" if line else "none",
    )


def form_handles(trials: pd.DataFrame, *, line: bool = False) -> list[Line2D]:
    """Return a legend entry for each form that trials have."""
    forms = dict.fromkeys(in_form_order(trials)["form"])
    return [form_handle(str(form), line=line) for form in forms]


def tidy_axes(axes: Axes) -> None:
    """Give axes the common look: two spines, a light grid, small tick labels."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", labelsize=SMALL_PT)
    axes.xaxis.label.set_fontsize(TEXT_PT)
    axes.yaxis.label.set_fontsize(TEXT_PT)
    axes.grid(color=NEUTRAL, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def tidy_categories(axes: Axes, which: Literal["x", "y"] = "y") -> None:
    """Give axes the common look, where one axis has names in place of numbers."""
    tidy_axes(axes)
    axes.grid(visible=False, axis=which)
    axes.tick_params(axis=which, length=0)


def set_log(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis that has its data logarithmic, with ticks 1, 10, 100; 1, 2, 5 if short."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    subs = (1.0,) if high > 30 * low else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=9))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def hollow_handle(label: str) -> Line2D:
    """Return the legend entry of hollow markers of any form."""
    return Line2D([], [], linestyle="none", marker="o", mfc="none", color=NEUTRAL, label=label)


def sentence_figure(study: StudyResults, sentence: str) -> Figure:
    """Return a figure that says in words why there is nothing to draw."""
    return words_figure(sentence, caption(study))


def words_figure(sentence: str, caption_text: str) -> Figure:
    """Return a figure of a sentence above a caption."""
    figure = new_figure(1.1)
    axes = figure.add_subplot(label=WORDS)
    axes.set_axis_off()
    axes.text(
        0.5,
        0.5,
        wrap_clauses(sentence, 0.9 * WIDTH_IN, TEXT_PT),
        ha="center",
        va="center",
        fontsize=TEXT_PT,
        transform=axes.transAxes,
        parse_math=False,
    )
    add_caption(figure, caption_text)
    return figure


def is_words(figure: Figure) -> bool:
    """Whether a figure is a sentence and nothing else."""
    return [axes.get_label() for axes in figure.axes] == [WORDS]


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write NAME.png and NAME.svg, the same bytes for the same study, and return their paths.

    Whoever looks while they are drawn anew sees the old file or the new one, each whole.
    """
    options: dict[str, dict[str, Any]] = {
        "png": {"dpi": PNG_DPI},
        "svg": {"metadata": {"Date": None}},
    }
    paths = []
    for suffix, more in options.items():
        path = folder / f"{name}.{suffix}"
        with written_atomically(path) as temporary:
            write_figure(figure, temporary, name, format=suffix, **more)
        paths.append(path)
    return paths


def write_figure(figure: Figure, target: Path | IO[Any], name: str, **options: Any) -> None:
    """Write a figure with every text in it as it is: "$" is no formula, no character acts.

    A character that the font lacks is drawn as a box.

    Args:
        figure: with names of users in its titles, labels and ticks.
        target: file, whose suffix gives the format where `options` do not.
        name: of the figure; the ids in an SVG are made of it.
        options: of `Figure.savefig`.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_text(printable(text.get_text()))
    # Ticks are made while a figure is drawn.
    plain = matplotlib.rc_context({"svg.hashsalt": name, "text.parse_math": False})
    with plain, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(target, **options)
