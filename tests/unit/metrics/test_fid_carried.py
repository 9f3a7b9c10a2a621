import numpy as np
import pytest
import torch
from torch import Tensor

from diffrop.metrics import frechet_distance, gaussian_statistics
from diffrop.metrics.fid_carried import FidAtFullN, expected_overlap
from diffrop.metrics.frechet import GaussianStatistics

DIM = 48


def population(scale: Tensor, mean: float = 0.0) -> GaussianStatistics:
    """An exact fit: independent features with standard deviations `scale`."""
    return GaussianStatistics(
        torch.full_like(scale, mean / len(scale) ** 0.5), torch.diag(scale), count=10**6
    )


def drawn(of: GaussianStatistics, count: int, seed: int) -> Tensor:
    noise = torch.randn(
        count, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return of.mean + noise @ of.factor


SPECTRA = {
    "steep": torch.arange(1, DIM + 1).double() ** -1.0,
    "shallow": torch.arange(1, DIM + 1).double() ** -0.3,
    "flat": torch.ones(DIM, dtype=torch.float64),
}


@pytest.mark.parametrize("num_samples", [8, 24, 48, 49, 50, 120, 1000])
@pytest.mark.parametrize("name", SPECTRA)
def test_expected_overlap_is_the_mean_over_wishart_matrices(name: str, num_samples: int) -> None:
    of = population(SPECTRA[name])
    found = []
    for seed in range(40):
        rows = drawn(of, num_samples, seed)
        rows = (rows - rows.mean(0)) @ of.factor / (num_samples - 1) ** 0.5
        found.append(float(torch.linalg.svdvals(rows).sum()))
    error = float(np.std(found)) / 40**0.5
    expected = expected_overlap(SPECTRA[name].numpy() ** 4, num_samples)
    assert expected == pytest.approx(np.mean(found), abs=4 * error, rel=0.01)


def test_expected_overlap_ends_at_that_of_the_populations() -> None:
    spectrum = SPECTRA["steep"].numpy()
    assert expected_overlap(spectrum, 10**8) == pytest.approx(np.sqrt(spectrum).sum(), rel=1e-4)
    padded = np.concatenate([spectrum, np.zeros(20)])
    assert expected_overlap(padded, 30) == pytest.approx(expected_overlap(spectrum, 30))


@pytest.mark.parametrize(
    ("count", "full"),
    [(20, 400), (60, 400), (12, 40), (20, 40)],  # the features are between, below, above them
)
@pytest.mark.parametrize("scale", [0.6, 1.0, 1.3])
def test_carried_fid_is_the_mean_fid_of_many_samples(scale: float, count: int, full: int) -> None:
    real = population(SPECTRA["shallow"])
    of = population(scale * SPECTRA["shallow"], mean=1.5)
    carry, labels = FidAtFullN(real), torch.zeros(count, dtype=torch.int64)
    raw, carried, expected = [], [], []
    for seed in range(30):
        few, many = drawn(of, count, seed), drawn(of, full, 1000 + seed)
        raw.append(frechet_distance(few, real))
        carried.append(carry.carried(raw[-1], few, labels, full))
        expected.append(frechet_distance(many, real))
    bias = np.mean(carried) - np.mean(expected)
    assert abs(bias) < 0.05 * (np.mean(raw) - np.mean(expected))
    assert abs(bias) < 4 * float(np.std(carried)) / 30**0.5 + 0.02 * np.mean(expected)


def test_carrying_corrects_a_preference_for_samples_that_spread_less() -> None:
    real = population(SPECTRA["flat"])
    wide, narrow = population(SPECTRA["flat"]), population(0.8 * SPECTRA["flat"])
    few = [drawn(of, 16, seed=3) for of in (wide, narrow)]
    raw = [frechet_distance(x, real) for x in few]
    labels, carry = torch.zeros(16, dtype=torch.int64), FidAtFullN(real)
    carried = [carry.carried(f, x, labels, 500) for f, x in zip(raw, few, strict=True)]
    assert raw[0] > raw[1] and carried[0] < carried[1]


def test_growth_of_another_spectrum_is_the_candidates_own() -> None:
    real, full, count = population(SPECTRA["flat"]), 1000, 120
    of = population(torch.linspace(1.1, 0.1, DIM, dtype=torch.float64))  # directions are lost
    labels, carry = torch.zeros(count, dtype=torch.int64), FidAtFullN(real)
    expected = np.mean([frechet_distance(drawn(of, full, 50 + seed), real) for seed in range(4)])
    raw, own, as_real = [], [], []
    for seed in range(12):
        few = drawn(of, count, seed)
        raw.append(frechet_distance(few, real))
        own.append(carry.carried(raw[-1], few, labels, full))
        part = carry.carried(frechet_distance(few[:99], real), few[:99], labels[:99], full)
        as_real.append(part)  # below a hundred samples
    assert abs(np.mean(own) - expected) < 0.5 * abs(np.mean(as_real) - expected)
    assert abs(np.mean(own) - expected) < 0.2 * (np.mean(raw) - expected)


def test_mean_varies_within_classes_alone() -> None:
    real = population(torch.full((DIM,), 1e-6, dtype=torch.float64))
    labels = torch.arange(40) % 2
    classes = 3.0 * torch.eye(2, DIM, dtype=torch.float64)[labels]
    noise = drawn(population(SPECTRA["flat"]), 40, seed=0)
    fid = frechet_distance(classes + noise, real)
    shorter = fid - FidAtFullN(real).carried(fid, classes + noise, labels, 80)
    assert shorter == pytest.approx(DIM * (1 / 40 - 1 / 80), rel=0.1)


def test_full_number_and_degenerate_samples_are_left_as_they_are() -> None:
    real = gaussian_statistics(drawn(population(SPECTRA["steep"]), 100, seed=1))
    carry, few = FidAtFullN(real), drawn(population(SPECTRA["steep"]), 10, seed=2)
    labels = torch.zeros(10, dtype=torch.int64)
    assert carry.carried(3.25, few, labels, 10) == 3.25
    same = torch.ones(10, DIM, dtype=torch.float64)
    fid = frechet_distance(same, real)
    assert carry.carried(fid, same, labels, 100) == pytest.approx(fid)
