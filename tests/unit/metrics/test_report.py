import pytest
import torch

from diffrop.errors import NonFiniteError
from diffrop.metrics.frechet import frechet_distance, gaussian_statistics
from diffrop.metrics.report import Reference, balanced_labels, shot_report

GROUPS = {"many": [0, 1], "medium": [2, 3, 4], "few": [5, 6]}


def made(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    labels = balanced_labels(count, 7)
    x = torch.randn(count, 5, generator=rng) + labels[:, None].float()
    return x, labels


def test_scores_are_frechet_distances_of_the_groups_rows() -> None:
    x, labels = made(140, 0)
    real, real_labels = made(700, 1)
    report = shot_report(x, labels, Reference.fit(real, real_labels, GROUPS))
    few = torch.isin(labels, torch.tensor([5, 6]))
    few_real = torch.isin(real_labels, torch.tensor([5, 6]))
    fit = gaussian_statistics(x[few])
    expected = frechet_distance(fit, gaussian_statistics(real[few_real]))
    full = frechet_distance(fit, gaussian_statistics(real))
    assert report.scores["fid/few"] == pytest.approx(expected, rel=1e-9)
    assert report.scores["fid_full/few"] == pytest.approx(full, rel=1e-9)
    everything = frechet_distance(gaussian_statistics(x), gaussian_statistics(real))
    assert report.scores["fid/all"] == pytest.approx(everything, rel=1e-9)


def test_shot_groups_take_equal_numbers_spread_over_their_classes() -> None:
    x, labels = made(140, 0)  # 20 a class: 40 many, 60 medium, 40 few
    real, real_labels = made(700, 1)
    report = shot_report(x, labels, Reference.fit(real, real_labels, GROUPS))
    assert report.num_samples == {"all": 140, "many": 40, "medium": 40, "few": 40}
    rows = torch.cat([(labels == c).nonzero().flatten()[:14] for c in (2, 3, 4)])
    rows = rows[torch.arange(42) != 41]  # classes 2, 3, 4 in turn: 14 + 13 + 13 of 40
    rows = rows[torch.arange(41) != 27]
    fit = gaussian_statistics(x[rows])
    medium = torch.isin(real_labels, torch.tensor([2, 3, 4]))
    expected = frechet_distance(fit, gaussian_statistics(real[medium]))
    assert report.scores["fid/medium"] == pytest.approx(expected, rel=1e-9)


def test_every_class_of_the_reference_has_the_same_mass() -> None:
    real, real_labels = made(700, 1)
    uneven = torch.cat([torch.arange(700), (real_labels == 0).nonzero().flatten()])
    even = Reference.fit(real, real_labels, GROUPS).statistics["all"]
    repeated = Reference.fit(real[uneven], real_labels[uneven], GROUPS).statistics["all"]
    torch.testing.assert_close(even.mean, repeated.mean)


def test_accuracy_is_the_share_of_asked_labels() -> None:
    x, labels = made(70, 0)
    wrong = labels.clone()
    wrong[labels == 5] = 0
    report = shot_report(x, labels, Reference.fit(*made(700, 1), GROUPS), wrong)
    assert report.scores["accuracy/few"] == 0.5
    assert report.scores["accuracy/all"] == pytest.approx(6 / 7)


def test_non_finite_features_are_an_error_not_a_score() -> None:
    x, labels = made(70, 0)
    x[3, 1] = float("inf")
    with pytest.raises(NonFiniteError, match=r"fid/all.*image 3"):
        shot_report(x, labels, Reference.fit(*made(700, 1), GROUPS))


def test_group_with_one_sample_is_left_out() -> None:
    x, labels = made(70, 0)
    groups = {"many": [0], "few": [1]}
    kept = (labels != 1) | (torch.arange(70) == 1)
    report = shot_report(x[kept], labels[kept], Reference.fit(*made(700, 1), groups))
    assert set(report.num_samples) == {"all"}
