import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from diffrop.metrics.frechet import frechet_distance, gaussian_statistics


def features(count: int, dim: int, seed: int, shift: float = 0.0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=rng, dtype=torch.float64)
    return torch.randn(count, dim, generator=rng, dtype=torch.float64) @ mixing + shift


def scipy_frechet(a: Tensor, b: Tensor) -> float:
    x, y = a.numpy(), b.numpy()
    s_x, s_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(s_x @ s_y).real
    shift = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return float(shift + np.trace(s_x) + np.trace(s_y) - 2 * np.trace(root))


def distance(a: Tensor, b: Tensor) -> float:
    return frechet_distance(gaussian_statistics(a), gaussian_statistics(b))


@pytest.mark.parametrize(("n_a", "n_b"), [(200, 300), (32, 300), (33, 32), (20, 300), (20, 25)])
def test_equals_scipy_and_torch_fidelity(n_a: int, n_b: int) -> None:
    a, b = features(n_a, 32, 0), features(n_b, 32, 1, shift=0.3)
    ours = distance(a, b)
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(a), fid_features_to_statistics(b), verbose=False
    )["frechet_inception_distance"]
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert ours == pytest.approx(scipy_frechet(a, b), rel=1e-4)
    assert distance(b, a) == pytest.approx(ours, rel=1e-6)


def test_same_features_have_distance_zero_even_when_rank_deficient() -> None:
    a = features(50, 16, 0)
    deficient = torch.cat([a, a[:, :4]], dim=1)
    assert distance(a, a) == pytest.approx(0, abs=1e-4)
    assert distance(deficient, deficient.flip(0)) == pytest.approx(0, abs=1e-3)


def test_shift_alone_costs_its_square() -> None:
    a = features(100, 8, 0)
    assert distance(a, a + 2.0) == pytest.approx(4.0 * 8, rel=1e-6)


def test_weights_act_as_repeated_rows_in_the_mean_and_as_reliability_in_the_covariance() -> None:
    x = features(6, 3, 0)
    weights = torch.tensor([1, 2, 3, 1, 2, 3], dtype=torch.float64) / 12
    fit = gaussian_statistics(x, weights)
    np.testing.assert_allclose(fit.mean, np.average(x, axis=0, weights=weights))
    np.testing.assert_allclose(
        fit.covariance, np.cov(x, rowvar=False, aweights=weights.numpy()), rtol=1e-12
    )


def test_float16_features_are_computed_in_float64() -> None:
    a, b = features(100, 8, 0).half(), features(100, 8, 1).half()
    assert distance(a, b) == pytest.approx(distance(a.double(), b.double()), rel=1e-12)


def test_bad_row_and_lone_image_are_named() -> None:
    bad = features(10, 4, 0)
    bad[7, 2] = float("nan")
    with pytest.raises(ValueError, match="image 7 are not finite"):
        gaussian_statistics(bad)
    with pytest.raises(ValueError, match="at least 2"):
        gaussian_statistics(bad[:1])
