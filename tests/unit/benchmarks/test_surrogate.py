import itertools
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from benchmarks.gaussian_process import GaussianProcess, _negative_log_likelihood, _squares
from benchmarks.landscapes import sobol_points
from benchmarks.surrogate import Surrogate, most_uncertain
from benchmarks.surrogate_check import left_out, no_claims, quality, uncertain_regions
from benchmarks.surrogate_inputs import Inputs, compressed, expanded
from benchmarks.surrogate_noise import covariance, fit_two_way, positive, root
from tests.made.landscape import (
    BIAS,
    OMEGAS,
    made_landscape,
    made_lines,
    true_effect,
    true_log_score,
)

LANDSCAPE = made_landscape()


@pytest.fixture(scope="module")
def quiet() -> Surrogate:
    return Surrogate.fit(LANDSCAPE, made_lines(LANDSCAPE, 48, own=0.003, sampling=0.01))


@pytest.fixture(scope="module")
def noisy() -> Surrogate:
    lines = made_lines(LANDSCAPE, 40, own=0.05, shared=0.2, sampling=0.6)
    return Surrogate.fit(LANDSCAPE, lines)


def test_the_process_is_that_of_an_independent_library() -> None:
    rng = np.random.default_rng(0)
    x, at, y = rng.random((12, 2)), rng.random((5, 2)), rng.standard_normal((12, 3))
    noise = np.diag(rng.uniform(0.01, 0.1, 12))
    own = GaussianProcess.fit(x, y, noise, [0, 1])
    kernel = ConstantKernel(math.exp(2 * own.log_amplitude)) * Matern(
        np.exp(own.log_scales), nu=0.5
    )
    theirs = GaussianProcessRegressor(kernel, alpha=np.diag(noise), optimizer=None)
    theirs.fit(x, y - own.mean)
    means, deviations = theirs.predict(at, return_std=True)
    assert own.predict(at) == pytest.approx(means + own.mean, abs=1e-6)
    assert np.sqrt(own.variance(at)) == pytest.approx(deviations[:, 0], abs=1e-6)


def test_the_likelihoods_gradient_is_that_of_its_differences() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random((9, 3)), rng.standard_normal((9, 2))
    squares = _squares(x, x, np.array([0, 1, 1]))
    theta = np.array([0.1, -0.3, 0.2])
    noise = 0.1 * np.eye(9) + 0.05
    _, gradient = _negative_log_likelihood(theta, squares, y, noise)
    for i, step in enumerate(1e-5 * np.eye(3)):
        above, below = (
            _negative_log_likelihood(theta + sign * step, squares, y, noise)[0] for sign in (1, -1)
        )
        assert gradient[i] == pytest.approx((above - below) / 2e-5, rel=1e-4)


def test_compression_is_undone() -> None:
    effects = np.array([-1.0, 0.0, 0.3, 0.41, 2.0])
    assert expanded(compressed(effects)) == pytest.approx(effects)
    assert (np.diff(compressed(effects)) > 0).all()


def test_inputs_of_conditional_and_chosen_parameters() -> None:
    inputs = Inputs(LANDSCAPE)
    hinge = {
        "contrastive.form": "hinge",
        "contrastive.tau_0": 100.0,
        "contrastive.decay_temperature": 0.05,
        "contrastive.margin": 1.05,
    }
    other = {**hinge, "contrastive.form": "reciprocal"}
    del other["contrastive.margin"]
    one, two, baseline = inputs.of([hinge, other, {}])
    assert len(one) == 4 + 3
    assert ((one - two)[:4] ** 2).sum() == pytest.approx(1)
    assert one[4:] == pytest.approx([1, 0, 1]) and two[4:] == pytest.approx([1, 0, 0.5])
    assert baseline[:5] == pytest.approx(0)  # no form, and no strength


def test_the_surrogate_knows_points_that_it_has_not_seen(quiet: Surrogate) -> None:
    errors = []
    for values in itertools.islice(sobol_points(LANDSCAPE.search_space, 9), 40):
        true = np.array([true_log_score(values, 20_480, omega) for omega in OMEGAS])
        errors.append(quiet.log_scores([values])[0, -1] - true)
    assert np.sqrt(np.square(errors).mean()) < 0.06  # effects have a deviation of 0.2


def test_the_error_of_left_out_points_is_that_of_new_ones(noisy: Surrogate) -> None:
    found = quality(noisy, left_out(noisy))
    errors = []
    for values in itertools.islice(sobol_points(LANDSCAPE.search_space, 9), 60):
        true = true_log_score(values, 20_480, 1.0) - noisy.baseline[-1, 2]
        errors.append(noisy.log_scores([values])[0, -1, 2] - noisy.baseline[-1, 2] - true)
    centred = np.std(errors)  # the baseline's own three draws shift all of them
    assert found.error == pytest.approx(centred, abs=0.06)
    assert found.effects == pytest.approx(0.2, abs=0.08)


def test_the_spreads_of_one_training_and_of_a_paired_difference_are_found(
    noisy: Surrogate,
) -> None:
    found = quality(noisy, left_out(noisy))
    assert found.difference == pytest.approx(math.sqrt(2) * 0.05, rel=0.25)
    assert found.freedom == (80, 2)
    assert 0.05 < found.training < 0.6  # 0.21, by two degrees of freedom


def test_draws_of_a_class_of_their_own_tell_the_shared_part() -> None:
    landscape = made_landscape("ablation.yaml")
    assert {"diffusion.noise"} <= {p.name for p in landscape.search_space.parameters}
    found = Surrogate.fit(landscape, made_lines(landscape, 40, own=0.05, shared=0.2))
    own, shared = (
        math.sqrt(np.diag(part)[-4:].mean())
        for part in (found.noise.training, found.noise.training_shared)
    )
    assert found.noise.freedom[1] >= 10
    assert own == pytest.approx(0.05, rel=0.3)
    assert shared == pytest.approx(0.2, rel=0.5)


def test_between_the_omegas_a_polynomial_is_followed(quiet: Surrogate) -> None:
    assert quiet.weights(1.0) == pytest.approx([0, 0, 1, 0])
    assert quiet.weights(0.75).sum() == pytest.approx(1)
    assert math.log(quiet.final_score({}, 0.75)) == pytest.approx(
        true_log_score({}, 20_480, 0.75), abs=0.06
    )


def test_the_bias_of_few_samples_is_found_beyond_the_largest_number(quiet: Surrogate) -> None:
    for count in (60, 125, 500, 1_000):
        assert quiet.bias_at(count) == pytest.approx(BIAS / count - BIAS / 1_000, abs=0.3)


def test_times_are_those_of_the_table(quiet: Surrogate) -> None:
    seconds = quiet.seconds({})
    assert seconds.training_per_image == pytest.approx(0.001)
    assert seconds.sampling(100, omega=0.0) == pytest.approx(0.2 + 0.05)
    assert seconds.sampling(100, omega=1.0) == pytest.approx(0.4 + 0.05)


def test_forks_have_a_share_of_the_effect() -> None:
    lines = made_lines(LANDSCAPE, 24, own=0.001)
    values = max((one["values"] for one in lines), key=true_effect)
    [whole] = [one for one in lines if one["values"] == values and one["seed"] == 0]
    [plain] = [one for one in lines if not one["values"] and one["seed"] == 0]
    fork = {**whole, "values": {**values, "contrastive.start_images": 10_240}}
    fork["rungs"] = [{**whole["rungs"][-1], "draws": []}]
    for own, other in zip(whole["rungs"][-1]["draws"], plain["rungs"][-1]["draws"], strict=True):
        halves = {
            count: [math.sqrt(a * b) for a, b in zip(scores, other["scores"][count], strict=True)]
            for count, scores in own["scores"].items()
        }
        fork["rungs"][0]["draws"].append({**own, "scores": halves})
    found = Surrogate.fit(LANDSCAPE, [*lines, fork])
    assert found.fork_share == pytest.approx(0.5, abs=0.15)
    scores = found.log_scores([fork["values"], values])
    assert scores[0, 0] == pytest.approx(found.baseline[0])
    between = (scores[0, -1] - found.baseline[-1]) / (scores[1, -1] - found.baseline[-1])
    assert between == pytest.approx(found.fork_share)


def test_the_null_landscape_is_flat(quiet: Surrogate) -> None:
    flat = quiet.without_effects()
    points = list(itertools.islice(sobol_points(LANDSCAPE.search_space, 9), 8))
    assert flat.log_scores(points) == pytest.approx(
        np.repeat(quiet.baseline[None], 8, axis=0), abs=1e-9
    )


def test_the_least_known_point_is_the_farthest(quiet: Surrogate) -> None:
    points = list(itertools.islice(sobol_points(LANDSCAPE.search_space, 9), 30))
    known = [one["values"] for one in made_lines(LANDSCAPE, 3)][3:]
    first, second = most_uncertain(quiet, [*known, *points], 2)
    assert first not in known and second not in known and first != second
    largest = quiet.uncertainty([*known, *points]).max()
    assert quiet.uncertainty([first])[0] == pytest.approx(largest)


def test_no_claim_is_made_of_too_few_points() -> None:
    few = Surrogate.fit(LANDSCAPE, made_lines(LANDSCAPE, 6, own=0.05, sampling=0.3))
    reasons = dict(no_claims(few, left_out(few)))
    assert any("all points" in name for name in reasons)
    assert any("single trainings" in name for name in reasons)


def test_a_region_without_points_is_uncertain() -> None:
    lines = [
        one
        for one in made_lines(LANDSCAPE, 60, own=0.003, sampling=0.01)
        if one["values"].get("contrastive.form") != "hinge"
    ]
    found = Surrogate.fit(LANDSCAPE, lines)
    regions = uncertain_regions(found, effects=0.3)
    assert len(regions) == 4 + 3 * 3
    assert regions["contrastive.form hinge"] > 0.5 > regions["contrastive.form reciprocal"]


def test_the_variance_of_a_sample_is_found(noisy: Surrogate) -> None:
    found = np.diag(noisy.noise.sampling.mean(axis=0))
    assert np.sqrt(found.mean()) == pytest.approx(0.6, rel=0.25)


def test_two_way_fit_tells_points_and_draws_apart() -> None:
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_tuples(
        [(p, d, s) for p, d in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")) for s in range(3)],
        names=["point", "draws", "seed"],
    )
    points = np.repeat([1.0, 5.0, 2.0, 4.0], 3)
    draws = np.concatenate([np.tile([-1.0, 0.0, 1.0], 2), np.tile([3.0, 0.0, -3.0], 2)])
    values = (points + draws)[:, None] + 1e-6 * rng.standard_normal((12, 1))
    fit = fit_two_way(pd.DataFrame(values, index=index))
    assert fit.means[0].to_list() == pytest.approx([1, 5, 2, 4], abs=1e-4)
    assert fit.draws[:, 0] == pytest.approx(
        np.sqrt(1.5) * np.array([-1, 0, 1, 3, 0, -3]), abs=1e-4
    )
    assert np.abs(fit.residuals).max() < 1e-4
    assert fit.freedom == (4, 4)


def test_roots_and_nearest_covariances() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 3))
    matrix = covariance(rows)
    assert root(matrix) @ root(matrix).T == pytest.approx(matrix)
    broken = matrix - 10 * np.outer(rows[0], rows[0])
    assert np.linalg.eigvalsh(positive(broken)).min() > -1e-9


def test_a_table_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="no training of the baseline"):
        Surrogate.fit(LANDSCAPE, [])
    with pytest.raises(ValueError, match="has 2 points beside the baseline"):
        Surrogate.fit(LANDSCAPE, made_lines(LANDSCAPE, 2))
    lines = [one for one in made_lines(LANDSCAPE, 24, all_seeds=False) if one["seed"] == 0]
    with pytest.raises(ValueError, match="several seeds"):
        Surrogate.fit(LANDSCAPE, lines)
