"""What the tests ask of a drawn figure."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D


def axes_of(figure: Figure, label: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_label() == label)


def lines_of(axes: Axes, label: str) -> list[Line2D]:
    return [line for line in axes.lines if line.get_label() == label]


def points(line: Line2D) -> set[tuple[float, float]]:
    return {(float(x), float(y)) for x, y in line.get_xydata()}


def text_of(figure: Figure) -> str:
    """Return the caption as one line."""
    return " ".join(figure.get_supxlabel().split())


def sentence_of(figure: Figure) -> str:
    """Return the sentence of a figure that has nothing else."""
    (text,) = figure.axes[0].texts
    return " ".join(text.get_text().split())
