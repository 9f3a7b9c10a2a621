import math

import pytest
import torch
from torch import Tensor

from diffrop.metrics.frechet import GaussianStatistics, frechet_distance, gaussian_statistics
from diffrop.metrics.inception import inception_score_estimate
from diffrop.metrics.interval import Interval
from diffrop.metrics.intervals import (
    Estimate,
    fid_estimate,
    fid_interval,
    influence_interval,
    paired_interval,
)
from diffrop.metrics.kernel import kernel_estimate
from diffrop.metrics.report import balanced_labels
from tests.made.features import gaussian

DIM, CLASSES = 24, 5


@pytest.mark.parametrize("count", [100, 25, 24, 12])
def test_influence_is_the_derivative_of_the_distance(count: int) -> None:
    """Against finite differences of the weighted fit: d FID / d weight of one image."""
    x, reference = gaussian(count, DIM, 0), gaussian_statistics(gaussian(400, DIM, 1, shift=0.2))
    estimate = fid_estimate(x, reference)
    assert estimate.value == pytest.approx(frechet_distance(x, reference), rel=1e-6)
    psi = estimate.influence
    assert psi is not None
    assert psi.mean() == pytest.approx(0, abs=1e-8 * float(psi.abs().max()))

    def distance(image: int, mass: float) -> float:
        weights = torch.full((count,), (1 - mass) / count, dtype=torch.float64)
        weights[image] += mass
        fit = gaussian_statistics(x, weights)
        # The factor that makes the covariance unbiased stays that of equal weights.
        factor = (1 - float(weights.square().sum())) * count / (count - 1)
        return frechet_distance(
            GaussianStatistics(fit.mean, fit.factor * math.sqrt(factor), count), reference
        )

    step = 1e-5
    for image in (0, count // 2, count - 1):
        slope = (distance(image, step) - distance(image, -step)) / (2 * step)
        assert slope == pytest.approx(float(psi[image]), rel=2e-3, abs=2e-3 * float(psi.std()))


class World:
    """Models whose samples, of fixed numbers a class, lie off a reference."""

    def __init__(self, skewed: bool) -> None:
        self.rng = torch.Generator().manual_seed(3)
        self.mixing = torch.randn(DIM, DIM, generator=self.rng, dtype=torch.float64) * 0.9 ** (
            torch.arange(DIM)
        )
        self.means = torch.randn(CLASSES, DIM, generator=self.rng, dtype=torch.float64)
        self.skewed = skewed
        self.reference_features = self.samples(2000, 0.0)
        self.reference = gaussian_statistics(self.reference_features)

    def samples(self, count: int, shift: float) -> Tensor:
        z = torch.randn(count, DIM, generator=self.rng, dtype=torch.float64)
        z = z.relu() * 1.7 if self.skewed else z
        return (z + self.means[balanced_labels(count, CLASSES)] + shift) @ self.mixing

    def pair(self, count: int) -> tuple[Tensor, Tensor]:
        """Samples of two models from the same noise."""
        first = self.samples(count, 0.2)
        own = torch.randn(count, DIM, generator=self.rng, dtype=torch.float64)
        return first, 0.97 * first + 0.05 * own


def coverage(estimates: list[Interval]) -> float:
    """Share of 95 % intervals that hold the expected value, which is their mean."""
    expected = sum(found.value for found in estimates) / len(estimates)
    return sum(found.low <= expected <= found.high for found in estimates) / len(estimates)


# Below D / 2 images the interval widens: 0.99 was seen at N = 100, D = 256.
@pytest.mark.parametrize(("count", "skewed"), [(500, False), (500, True), (60, False), (20, True)])
def test_intervals_hold_the_expected_fid_and_its_paired_differences(
    count: int, skewed: bool
) -> None:
    world, labels = World(skewed), balanced_labels(count, CLASSES)
    single, paired = [], []
    for _ in range(400):
        sets = world.pair(count)
        estimates = [fid_estimate(x, world.reference) for x in sets]
        single.append(fid_interval(sets[0], world.reference, labels))
        paired.append(paired_interval(estimates[1], estimates[0], labels))
    assert 0.9 <= coverage(single) <= 0.98
    assert 0.9 <= coverage(paired) <= 0.98
    widths = [sum(i.high - i.low for i in found) for found in (paired, single)]
    assert widths[0] < widths[1] / 2  # what both share drops out


def test_kid_and_inception_score_intervals_hold_their_expected_values() -> None:
    world, labels = World(skewed=False), balanced_labels(200, CLASSES)
    kids, scores = [], []
    for _ in range(400):
        x = world.samples(200, 0.2) / 5
        for estimate, found in (
            (kernel_estimate(x, world.reference_features[:200] / 5), kids),
            (inception_score_estimate(5 * x[:, :6]), scores),
        ):
            assert estimate.influence is not None
            found.append(influence_interval(estimate.value, estimate.influence, labels))
    assert 0.9 <= coverage(kids) <= 0.98
    assert 0.9 <= coverage(scores) <= 0.99


def test_interval_of_a_mean_is_students() -> None:
    psi = torch.tensor([1.0, 2.0, 4.0, 9.0])
    found = influence_interval(4.0, psi)
    half = 3.182446305284263 * float(psi.std()) / 2  # t of 3 degrees of freedom
    assert (found.low, found.high) == pytest.approx((4 - half, 4 + half))


def test_differences_between_classes_are_no_noise_when_numbers_are_fixed() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    psi = torch.tensor([1.0, 2.0, 3.0, 101.0, 102.0, 103.0])
    found = influence_interval(0.0, psi, labels)
    assert found.standard_error == pytest.approx(math.sqrt(6 * 1.0) / 6)
    alone = influence_interval(0.0, psi, torch.arange(6))  # one sample a class: pooled
    assert alone.standard_error == pytest.approx(influence_interval(0.0, psi).standard_error)


def test_unequal_numbers_are_not_compared() -> None:
    ours, theirs = (Estimate(1.0, torch.randn(n)) for n in (10, 12))
    with pytest.raises(ValueError, match=r"10 and 12 samples.*equal N"):
        paired_interval(ours, theirs)
    with pytest.raises(ValueError, match="no influence"):
        paired_interval(ours, Estimate(1.0))
