"""A trial that went wrong squeezes no axis of any figure, and no line lies on a number."""

import functools

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures import score_axes
from diffrop.analysis.figures.registry import TITLES, study_figure
from diffrop.analysis.figures.style import new_figure, tidy_axes
from tests.made.analysed_study import write_study
from tests.made.drawn import lines_of, text_of
from tests.made.large_study import BROKEN
from tests.made.spoiled_study import with_worse

SPOILED = 9
"""A trial of the large study that is neither the best of its form nor broken."""
NAMING = {
    "loss_forms",
    "tau_schedules",
    "tau_sensitivity",
    "pareto_front",
    "learning_curves",
    "decay_heatmap",
    "omega_sensitivity",
    "parallel_coordinates",
}
"""Figures that have that trial's score; the others show ranks, or other trials alone."""
READ_AS_TABLE = {"parallel_coordinates"}
"""Figures whose lines run past names on purpose."""


@pytest.fixture(scope="module")
def nine_study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """Like the default study: the only trial of a form is broken, and the baseline is among the
    worst of the others."""
    study = load_study(write_study(tmp_path_factory.mktemp("nine") / "runs" / "tau-sweep"))
    return with_worse(with_worse(study, [4]), [0], 1.1)


def limits(figure: Figure) -> dict[tuple[str, str], np.ndarray]:
    """The ends of all axes of numbers, as far apart as they are drawn."""
    return {
        (str(axes.get_label()), which): axis.get_transform().transform(axis.get_view_interval())
        for axes in figure.axes
        for which, axis in (("x", axes.xaxis), ("y", axes.yaxis))
    }


def texts(figure: Figure) -> str:
    found = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    return " ".join([*found, text_of(figure)])


@pytest.mark.parametrize("name", TITLES)
def test_broken_trial_squeezes_no_axis_and_is_told_of(
    large_study: StudyResults, name: str
) -> None:
    draw = study_figure(name).draw
    spoiled = with_worse(large_study, [SPOILED])
    figure = draw(spoiled)
    before, after = limits(draw(large_study)), limits(figure)
    assert before.keys() == after.keys()
    for key, (low, high) in before.items():
        np.testing.assert_allclose(after[key], (low, high), atol=0.4 * (high - low), err_msg=key)
    if name in NAMING:
        trial = spoiled.trials.set_index("number").loc[SPOILED]
        change = trial["value"] - large_study.trials["value"][0]
        told = (f"{trial['value']:,.1f}", f"{change:+.1f}", f"left out: t{SPOILED:03d}")
        assert any(words in texts(figure) for words in told)


@pytest.mark.parametrize("name", ["loss_forms", "shot_groups", "tau_sensitivity"])
def test_form_that_is_broken_as_a_whole_is_an_arrow(nine_study: StudyResults, name: str) -> None:
    figure = study_figure(name).draw(nine_study)
    arrows = [line for axes in figure.axes for line in lines_of(axes, "beyond")]
    assert len(arrows) == {"loss_forms": 1, "shot_groups": 3, "tau_sensitivity": 2}[name]
    for (_, which), (low, high) in limits(figure).items():
        assert which == "y" or name == "tau_sensitivity" or high - low < 60


def crossings(axes: Axes, box: Bbox) -> list[str]:
    """What is drawn of the data through a box, by its label."""
    found = []
    for line in axes.lines:
        path = line.get_transform().transform_path(line.get_path())
        marked = line.get_marker() not in ("None", None, "") and box.count_contains(path.vertices)
        drawn = line.get_linestyle() != "None" and path.intersects_bbox(box, filled=False)
        if line.get_visible() and (marked or drawn):
            found.append(str(line.get_label()))
    for bars in axes.collections:
        if isinstance(bars, LineCollection):
            to_pixels = bars.get_transform()
            paths = [to_pixels.transform_path(path) for path in bars.get_paths()]
            if any(path.intersects_bbox(box, filled=False) for path in paths):
                found.append("bar")
    return found


def on_grid(axes: Axes, text: Bbox) -> bool:
    box = Bbox.intersection(text, axes.bbox)
    if box is None:
        return False
    grid: list[Line2D] = [*axes.get_xgridlines(), *axes.get_ygridlines()]
    paths = [line.get_transform().transform_path(line.get_path()) for line in grid]
    return any(
        line.get_visible() and path.intersects_bbox(box, filled=False)
        for line, path in zip(grid, paths, strict=True)
    )


@pytest.mark.parametrize("name", [name for name in TITLES if name not in READ_AS_TABLE])
@pytest.mark.parametrize("kind", ["large_study", "nine_study", "spoiled"])
def test_no_line_lies_on_a_number(
    request: pytest.FixtureRequest, large_study: StudyResults, kind: str, name: str
) -> None:
    study = (
        with_worse(large_study, [SPOILED]) if kind == "spoiled" else request.getfixturevalue(kind)
    )
    figure = study_figure(name).draw(study)
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        for text in filter(Text.get_text, axes.texts):
            box = text.get_window_extent()
            assert not crossings(axes, box), text.get_text()
            patch = text.get_bbox_patch()
            assert not on_grid(axes, box) or (patch is not None and text.get_zorder() > 2), (
                text.get_text()
            )


def test_arrows_of_one_place_share_their_numbers() -> None:
    figure = new_figure(2)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1])
    forms = ["hinge", "hinge", "reciprocal", "hinge"]
    score_axes.draw_beyond(axes, [1, 1, 1, 3], forms, ["5.0", "6.0", "7.0", ""])
    one, other = lines_of(axes, "beyond")
    assert [text.get_text() for text in axes.texts] == ["5.0 to 7.0 (3)"]
    assert one.get_color() == "#808080" and other.get_color() == "#009E73"


@pytest.mark.parametrize("which", ["x", "y"])
@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_axis_grows_at_the_end_of_the_arrow(which: str, below: bool, scale: str) -> None:
    figure = new_figure(3)
    axes = figure.add_subplot()
    axes.plot([1, 50], [1, 50])
    axes.set(xscale=scale, yscale=scale)
    ends = functools.partial(getattr(axes, f"get_{which}lim"))
    low, high = ends()
    score_axes.draw_beyond(axes, [2.0], ["hinge"], ["99.0"], which, below=below)  # type: ignore[arg-type]
    tidy_axes(axes)
    grown_low, grown_high = ends()
    assert (grown_low < low, grown_high > high) == (below, not below)
    assert (grown_high == pytest.approx(high)) == below
    FigureCanvasAgg(figure).draw()
    (text,) = axes.texts
    assert not crossings(axes, text.get_window_extent())


def test_large_study_has_a_broken_trial(large_study: StudyResults) -> None:
    values = large_study.trials.set_index("number")["value"]
    assert values[BROKEN] > 1.5 * values.median() > values[SPOILED]
