"""Draws the figures of a study that apply to it, and writes them."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure

from diffrop.activity import Tell, untold
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.model import can_read_model
from diffrop.analysis.figures.registry import TITLES, StudyFigure, study_figure
from diffrop.analysis.figures.style import caption, save_figure, words_figure

Written = TypeVar("Written")


def applicable_figures(study: StudyResults) -> list[StudyFigure]:
    """Return the figures that the study has something for."""
    return [figure for figure in map(study_figure, TITLES) if _applies(figure, study)]


def _applies(figure: StudyFigure, study: StudyResults) -> bool:
    try:
        return figure.applies(study)
    except Exception:  # as below; drawing it says what is wrong
        return True


def draw_figures(
    study: StudyResults, of_networks: bool = True, tell: Tell = untold
) -> Iterator[tuple[StudyFigure, Figure]]:
    """Draw the figures that the study has something for; one that fails says so in its place.

    Args:
        study: what they show.
        of_networks: whether those are drawn that read checkpoints, which take longest.
        tell: is told which is drawn, and how far all are.
    """
    items = list(applicable_figures(study))
    for place, item in enumerate(items):
        if item.applies is can_read_model and not of_networks:
            continue
        tell(f"drawing: {item.name}", place / len(items))
        try:
            figure = item.draw(study)
        except Exception as error:  # whatever it is, one figure must not cost the reader the rest
            figure = failure_figure(error, caption(study))
        yield item, figure


def failure_figure(error: Exception, caption_text: str) -> Figure:
    """Return a figure that says why another could not be drawn."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return words_figure(f"This figure could not be drawn: {reason[:200]}", caption_text)


def or_failure(figure: Figure, work: Callable[[Figure], Written]) -> Written:
    """Do with a figure what draws its texts; one that fails says so in its place.

    Raises:
        OSError: what `work` writes cannot be written.
    """
    try:
        return work(figure)
    except OSError:
        raise
    except Exception as error:  # fonts, layout and pixels are first asked for while it is written
        return work(failure_figure(error, figure.get_supxlabel()))


def save_figures(drawn: Iterable[tuple[StudyFigure, Figure]], folder: Path) -> list[Path]:
    """Write figures as PNG and SVG into a folder; return the paths."""
    return [
        path
        for item, figure in drawn
        for path in or_failure(figure, partial(save_figure, folder=folder, name=item.name))
    ]
