import numpy as np
import pytest
import torch
from matplotlib.image import AxesImage

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.model import load_data, model_trials, study_extractor
from diffrop.analysis.figures.class_confusion import (
    class_confusion_figure,
    confusion,
    confusion_shares,
    frequent_first,
)
from tests.made.drawn import axes_of, text_of

pytestmark = pytest.mark.usefixtures("quick_samples")


def test_confusion_rows_are_shares_of_the_asked_class() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    seen = torch.tensor([0, 1, 1, 1, 0, 0])
    shares = confusion_shares(labels, seen, order=[2, 0, 1])
    np.testing.assert_allclose(shares, [[0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]])


def test_confusion_figure_has_a_matrix_for_baseline_and_best(trained_study: StudyResults) -> None:
    figure = class_confusion_figure(trained_study)
    data = load_data(trained_study)
    extractor = study_extractor(trained_study, data, "classifier")
    assert frequent_first(data) == list(range(10))
    for trial, label in zip(model_trials(trained_study), ("baseline", "best"), strict=True):
        axes = axes_of(figure, label)
        (matrix,) = [c for c in axes.get_children() if isinstance(c, AxesImage)]
        expected = confusion(trained_study, trial, data, extractor)
        np.testing.assert_allclose(matrix.get_array(), expected)
        np.testing.assert_allclose(expected.sum(axis=1), 1)
        assert f"{np.diag(expected).mean():.1%} seen as asked" in axes.get_title(loc="left")
    text = text_of(figure)
    assert "N = 30 samples, 3 a class, ddim-16" in text and "classifier-digits" in text
