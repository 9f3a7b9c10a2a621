import numpy as np
import pytest
import torch
from matplotlib.image import AxesImage

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.model import load_data, load_model, model_trials
from diffrop.analysis.figures.sample_neighbours import (
    NUM_SHOWN,
    find_neighbours,
    sample_neighbours_figure,
)
from diffrop.metrics.neighbours import nearest
from tests.made.drawn import axes_of, text_of

pytestmark = pytest.mark.usefixtures("quick_samples")


def test_neighbours_are_the_nearest_training_images(trained_study: StudyResults) -> None:
    data = load_data(trained_study)
    model = load_model(trained_study, model_trials(trained_study)[-1])
    found = find_neighbours(model, data, None, label=9)
    assert found.samples.shape == found.nearest.shape == (NUM_SHOWN, 1, 8, 8)
    pixels = data.train.images.flatten(1).float()
    own = torch.from_numpy(found.samples).flatten(1).float()
    brute = torch.cdist(own, pixels)
    unit = nearest(data.heldout.images[data.heldout.labels == 9].flatten(1).float(), pixels)[0]
    expected = brute.min(dim=1).values / unit.median()
    np.testing.assert_allclose(found.distances, expected, rtol=1e-4)
    np.testing.assert_array_equal(found.nearest, data.train.images[brute.argmin(dim=1)])
    assert found.nearest_labels == data.train.labels[brute.argmin(dim=1)].tolist()
    assert 0 <= found.memorisation <= 1


def test_sample_figure_shows_tail_and_head_with_their_counts(trained_study: StudyResults) -> None:
    figure = sample_neighbours_figure(trained_study)
    titles = {axes.get_label(): axes.get_title(loc="left") for axes in figure.axes}
    assert titles["tail"].startswith("Rarest class: 9, 17 training images; memorisation")
    assert titles["head"].startswith("Most frequent class: 0, 170 training images")
    (picture,) = [c for c in axes_of(figure, "tail").get_children() if isinstance(c, AxesImage)]
    assert picture.get_array().shape == (2 * 10, NUM_SHOWN * 10)
    text = text_of(figure)
    assert "omega = 1, ddim-16" in text and "690 training images by classifier-digits" in text
    assert "N = 40 samples of the class" in text and "N = 1,000" in text
