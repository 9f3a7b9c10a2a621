import pytest
import torch
from scipy import stats

from diffrop.config import ClassSampling
from diffrop.data.batches import ImageOrder, class_probabilities

COUNTS = [100, 25, 4]
LABELS = torch.arange(3).repeat_interleave(torch.tensor(COUNTS))
PROBABILITIES = {
    "natural": [100 / 129, 25 / 129, 4 / 129],
    "sqrt": [10 / 17, 5 / 17, 2 / 17],
    "uniform": [1 / 3, 1 / 3, 1 / 3],
}


@pytest.mark.parametrize("sampling", PROBABILITIES)
def test_class_probabilities_are_those_of_the_counts(sampling: ClassSampling) -> None:
    found = class_probabilities(COUNTS, sampling)
    assert found.tolist() == pytest.approx(PROBABILITIES[sampling], rel=1e-12)


def test_class_without_images_is_never_asked_for() -> None:
    for sampling in ("natural", "sqrt", "uniform"):
        found = class_probabilities([4, 0, 4], sampling)  # type: ignore[arg-type]
        assert found.tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize("sampling", PROBABILITIES)
def test_drawn_classes_follow_their_probabilities(sampling: ClassSampling) -> None:
    drawn = LABELS[ImageOrder(LABELS, sampling, seed=1).indices(0, 129 * 50)]
    expected = torch.tensor(PROBABILITIES[sampling], dtype=torch.float64) * len(drawn)
    hits = drawn.bincount(minlength=3)
    if sampling == "natural":
        assert hits.tolist() == [count * 50 for count in COUNTS]
    else:
        assert stats.chisquare(hits.numpy(), expected.numpy()).pvalue > 0.001


@pytest.mark.parametrize("sampling", ["sqrt", "uniform"])
def test_images_of_a_class_are_equally_likely(sampling: ClassSampling) -> None:
    drawn = ImageOrder(LABELS, sampling, seed=2).indices(0, 129 * 50)
    for label in range(3):
        hits = drawn[LABELS[drawn] == label].bincount(minlength=129)[label == LABELS]
        assert stats.chisquare(hits.numpy()).pvalue > 0.001


def test_every_natural_pass_visits_every_image_once() -> None:
    visited = ImageOrder(torch.zeros(10, dtype=torch.int64), "natural", 3).indices(0, 30)
    assert all(sorted(part.tolist()) == list(range(10)) for part in visited.split(10))
    assert visited[:10].tolist() != visited[10:20].tolist()


@pytest.mark.parametrize("sampling", PROBABILITIES)
def test_order_depends_on_the_position_alone(sampling: ClassSampling) -> None:
    whole = ImageOrder(LABELS, sampling, seed=3).indices(0, 437)
    resumed = ImageOrder(LABELS, sampling, seed=3)
    assert resumed.indices(223, 214).tolist() == whole[223:].tolist()
    assert ImageOrder(LABELS, sampling, seed=4).indices(0, 437).tolist() != whole.tolist()
