"""Draws the figures of a study that apply to it, and writes them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from matplotlib.figure import Figure

from analysis.data.load import StudyResults
from analysis.figures.registry import TITLES, StudyFigure, study_figure
from analysis.figures.style import save_figure, sentence_figure


def applicable_figures(study: StudyResults) -> list[StudyFigure]:
    """Return the figures that the study has something for."""
    return [figure for figure in map(study_figure, TITLES) if figure.applies(study)]


def draw_figures(study: StudyResults) -> Iterator[tuple[StudyFigure, Figure]]:
    """Draw the figures that the study has something for; one that fails says so in its place."""
    for item in applicable_figures(study):
        try:
            figure = item.draw(study)
        except Exception as error:  # whatever it is, one figure must not cost the reader the rest
            reason = " ".join(str(error).split()) or type(error).__name__
            figure = sentence_figure(study, f"This figure could not be drawn: {reason[:200]}")
        yield item, figure


def save_figures(drawn: Iterable[tuple[StudyFigure, Figure]], folder: Path) -> list[Path]:
    """Write figures as PNG and SVG into a folder; return the paths."""
    return [path for item, figure in drawn for path in save_figure(figure, folder, item.name)]
