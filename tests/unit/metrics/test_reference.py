import torch

from diffrop.metrics.frechet import gaussian_statistics
from diffrop.metrics.reference import Reference, balanced_rows
from tests.made.features import GROUPS, fitted, in_classes


def test_every_class_of_the_reference_has_the_same_mass() -> None:
    real, real_labels = in_classes(700, 1)
    uneven = torch.cat([torch.arange(700), (real_labels == 0).nonzero().flatten()])
    even = fitted().statistics["all"]
    repeated = Reference.fit(real[uneven], real_labels[uneven], GROUPS).statistics["all"]
    torch.testing.assert_close(even.mean, repeated.mean)
    rows = Reference.fit(real[uneven], real_labels[uneven], GROUPS).rows(range(7), 10_000)
    assert torch.bincount(real_labels[uneven][rows]).tolist() == [100] * 7


def test_balanced_rows_take_turns() -> None:
    labels = torch.tensor([1, 1, 0, 2, 0, 1, 2, 2])
    assert balanced_rows(labels, [0, 1, 2]).tolist() == [2, 0, 3, 4, 1, 6]
    assert balanced_rows(labels, [1]).tolist() == [0, 1, 5]


def test_class_without_a_reference_image_is_left_out_of_its_group() -> None:
    real, real_labels = in_classes(700, 1)
    kept = real_labels != 6
    reference = Reference.fit(real[kept], real_labels[kept], {**GROUPS, "rare": [6]})
    assert reference.groups["few"] == [5] and "rare" not in reference.groups
    expected = gaussian_statistics(real[real_labels == 5])
    torch.testing.assert_close(reference.statistics["few"].mean, expected.mean)
