import math

import numpy as np
import pytest

from benchmarks.surrogate import Point, Surrogate
from benchmarks.surrogate_noise import covariance, fit_two_way, positive, root
from tests.made.surrogate_grid import BIAS, OMEGAS, made_grid, true_log_fid


@pytest.fixture(scope="module")
def quiet() -> Surrogate:
    return Surrogate.fit(made_grid(noise=0.01))


@pytest.fixture(scope="module")
def noisy() -> Surrogate:
    return Surrogate.fit(made_grid(noise=0.6))


def test_the_surrogate_gives_the_means_of_the_table(quiet: Surrogate) -> None:
    for point in quiet.fitted.itertuples():
        assert point.predicted == pytest.approx(point.measured, abs=0.01)
        known = Point(point.form, point.tau_0, point.decay_temperature, point.margin)
        for omega in OMEGAS:
            true = true_log_fid(known.form, known.tau_0, known.decay_temperature, 20_480, omega)
            assert math.log(quiet.final_fid(known, omega)) == pytest.approx(true, abs=0.02)


def test_without_strength_every_form_is_the_baseline(quiet: Surrogate) -> None:
    for form in ("negative_l2", "hinge"):
        weak = Point(form, 0.1, 0.1, 1.0)
        assert quiet.log_fid(weak) == pytest.approx(quiet.baseline, abs=0.02)


def test_no_point_beside_a_ruinous_one_is_better_than_all_that_was_measured(
    quiet: Surrogate,
) -> None:
    found = [
        quiet.log_fid(Point("exponential", tau_0, decay))[-1, 2]
        for tau_0 in np.geomspace(0.1, 100, 20)
        for decay in (0.05, 0.1, 0.3, 1.0)
    ]
    assert min(found) > quiet.baseline[-1, 2] - 0.02


def test_between_the_omegas_a_polynomial_is_followed(quiet: Surrogate) -> None:
    assert quiet.weights(1.0) == pytest.approx([0, 0, 1, 0])
    assert quiet.weights(0.75).sum() == pytest.approx(1)
    fid = math.log(quiet.final_fid(Point(), 0.75))
    assert fid == pytest.approx(true_log_fid("none", 0, 0, 20_480, 0.75), abs=0.01)


def test_the_bias_of_few_samples_is_found(quiet: Surrogate) -> None:
    for count, bias in BIAS.items():
        assert quiet.bias_at(count) == pytest.approx(bias, abs=0.3)
    assert BIAS[500] < quiet.bias_at(300) < BIAS[250]


def test_times_and_forks_are_as_in_the_table(quiet: Surrogate) -> None:
    assert quiet.seconds.training_per_image == pytest.approx(0.001)
    assert quiet.seconds.sampling(100, omega=0.0) == pytest.approx(0.2 + 0.05)
    assert quiet.seconds.sampling(100, omega=1.0) == pytest.approx(0.4 + 0.05)
    assert quiet.fork_shares == pytest.approx(dict.fromkeys(quiet.fork_shares, 0.5), abs=0.05)
    fork = Point("reciprocal", 100.0, 0.25, start_images=10_240)
    assert quiet.log_fid(fork)[0] == pytest.approx(quiet.baseline[0])


def test_the_variance_of_a_sample_is_found(noisy: Surrogate) -> None:
    found = np.diag(noisy.noise.sampling.mean(axis=0))
    # The bias's steps are taken from the median, which is as noisy as some twenty draws.
    assert np.sqrt(found.mean()) == pytest.approx(0.6, rel=0.25)


def test_two_way_fit_tells_points_and_seeds_apart() -> None:
    import pandas as pd

    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([["a", "b"], [0], range(3)], names=["p", "q", "seed"])
    effects = np.repeat([[1.0], [5.0]], 3, axis=0) + np.tile([[-1.0], [0.0], [1.0]], (2, 1))
    whole = pd.DataFrame(effects + 1e-6 * rng.standard_normal((6, 1)), index=index)
    means, residuals, seeds = fit_two_way(whole)
    assert means[0].to_list() == pytest.approx([1, 5], abs=1e-4)
    assert seeds[:, 0] == pytest.approx([-1, 0, 1], abs=1e-4)
    assert np.abs(residuals).max() < 1e-4


def test_roots_and_nearest_covariances() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 3))
    matrix = covariance(rows)
    assert root(matrix) @ root(matrix).T == pytest.approx(matrix)
    broken = matrix - 10 * np.outer(rows[0], rows[0])
    assert np.linalg.eigvalsh(positive(broken)).min() > -1e-9
