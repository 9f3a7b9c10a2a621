import numpy as np
import pytest

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.model import load_data, load_model, model_trials
from diffrop.analysis.figures.distance_over_time import distance_over_time_figure, pair_distances
from tests.made.drawn import axes_of, lines_of, text_of


def test_distances_are_those_of_the_loss(trained_study: StudyResults) -> None:
    data = load_data(trained_study)
    model = load_model(trained_study, model_trials(trained_study)[-1])
    found = pair_distances(model, data)
    assert found["t"].nunique() == 11 and found["t"].max() == 999
    # In mu space, with noise of each image's own, d is about 2 where all is noise, and the part
    # that depends on the network is small at every t.
    late = found.loc[found["t"] == 999, "distance"]
    assert late.mean() == pytest.approx(2, rel=0.1)
    share = (found["distance"] - found["true_distance"]).abs() / found["true_distance"]
    assert share.groupby(found["t"]).median().max() < 0.2
    assert set(found["kind"]) == {"many and many", "many and few", "few and few", "other"}


def test_distance_figure_draws_medians_and_bands(trained_study: StudyResults) -> None:
    figure = distance_over_time_figure(trained_study)
    found = pair_distances(
        load_model(trained_study, model_trials(trained_study)[-1]), load_data(trained_study)
    )
    axes = axes_of(figure, "distance")
    medians = found[found["kind"] == "many and few"].groupby("t")["distance"].median()
    (line,) = lines_of(axes, "many and few")
    np.testing.assert_allclose(line.get_ydata(), medians)
    assert "few and few band" in [band.get_label() for band in axes.collections]
    text = text_of(figure)
    assert "mu space, own noise, N = 96 training images" in text and "N = 1,000" in text
