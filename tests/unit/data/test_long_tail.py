import numpy as np
import pytest
import torch

from diffrop.data import long_tailed_counts, shot_groups
from diffrop.data.long_tail import long_tailed_indices


@pytest.mark.parametrize(
    ("max_count", "num_classes", "total", "last"), [(5000, 10, 12_406, 50), (500, 100, 10_847, 5)]
)
def test_counts_are_those_of_cifar_lt(
    max_count: int, num_classes: int, total: int, last: int
) -> None:
    counts = long_tailed_counts(max_count, num_classes, 0.01)
    assert (counts[0], counts[-1], sum(counts)) == (max_count, last, total)


def test_a_factor_that_empties_a_class_is_refused_with_the_least_that_does_not() -> None:
    with pytest.raises(ValueError, match=r"imbalance_factor is 0.001.*at least 0.005882 at 170"):
        long_tailed_counts(170, 10, 0.001)


def test_one_class_has_no_tail() -> None:
    with pytest.raises(ValueError, match="at least 2 classes"):
        long_tailed_counts(10, 1, 0.1)


def test_subset_is_that_of_the_published_construction() -> None:
    labels = torch.tensor([0, 1, 0, 1, 1, 0, 2, 0, 2, 1])
    np.random.seed(0)  # the published code seeds the global generator and shuffles class by class
    expected = []
    for c, count in enumerate([3, 2, 1]):
        indices = np.where(labels.numpy() == c)[0]
        np.random.shuffle(indices)
        expected.extend(indices[:count].tolist())
    assert long_tailed_indices(labels, [3, 2, 1]).tolist() == expected


@pytest.mark.parametrize(("num_classes", "sizes"), [(10, [3, 4, 3]), (100, [33, 34, 33])])
def test_groups_have_the_papers_sizes(num_classes: int, sizes: list[int]) -> None:
    groups = shot_groups(list(range(num_classes, 0, -1)))
    assert [len(groups[name]) for name in ("many", "medium", "few")] == sizes


def test_groups_follow_counts_and_ties_follow_labels() -> None:
    assert shot_groups([5, 90, 5]) == {"many": [1], "medium": [0], "few": [2]}


def test_two_classes_are_many_and_few_and_one_class_is_in_no_group() -> None:
    assert shot_groups([3, 7]) == {"many": [1], "few": [0]}
    assert shot_groups([3]) == {}
