import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from diffrop.analysis.data.compare import comparable_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures.parallel_coordinates import parallel_coordinates_figure, row_scales
from diffrop.analysis.figures.style import form_style
from tests.made.drawn import lines_of, text_of
from tests.made.full_study import KEY


def test_parallel_coordinates_place_every_value(full_study: StudyResults) -> None:
    figure = parallel_coordinates_figure(full_study)
    (axes,) = figure.axes
    scales = row_scales(full_study, comparable_trials(full_study))
    assert [scale.name for scale in scales] == [
        "form",
        "tau_0",
        "decay_temperature",
        "margin",
        KEY,
        "value",
    ]
    (line,) = lines_of(axes, "t001")
    trial = full_study.trials.loc[1]
    rows = [0, 1, 2, 4, 5]  # the margin was not asked for
    at_rows = [0, 2, 4, 6, 8]  # between them it runs straight down, beside the names
    assert list(np.asarray(line.get_ydata())[at_rows]) == rows
    expected = np.array([scales[row].place(trial[scales[row].name]) for row in rows], float)
    np.testing.assert_allclose(np.asarray(line.get_xdata(), float)[at_rows], expected)
    np.testing.assert_allclose(np.asarray(line.get_xdata(), float)[1::2], expected[:-1])
    assert expected[1] == pytest.approx(np.log(3.2 / 0.1) / np.log(1000))
    assert line.get_color() == form_style("reciprocal").colour
    (pruned,) = lines_of(axes, "t006")
    assert max(pruned.get_ydata()) == 4 and pruned.get_color() == "#808080"
    assert "12 of 17 trials scored in full" in text_of(figure)


def test_names_that_would_meet_stand_in_two_lines(full_study: StudyResults) -> None:
    (axes,) = parallel_coordinates_figure(full_study).axes
    canvas = FigureCanvasAgg(axes.get_figure(root=True))  # type: ignore[arg-type]
    canvas.draw()
    forms = ("negative_l2", "hinge", "reciprocal", "exponential")
    boxes = [t.get_window_extent() for t in axes.texts if t.get_text() in forms]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
