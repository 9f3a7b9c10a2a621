import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from diffrop.metrics.frechet import frechet_distance, gaussian_statistics
from tests.made.features import gaussian


def scipy_frechet(a: Tensor, b: Tensor) -> float:
    x, y = a.numpy(), b.numpy()
    s_x, s_y = (np.atleast_2d(np.cov(one, rowvar=False)) for one in (x, y))
    root = scipy.linalg.sqrtm(s_x @ s_y).real
    shift = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return float(shift + np.trace(s_x) + np.trace(s_y) - 2 * np.trace(root))


def fidelity_frechet(a: Tensor, b: Tensor) -> float:
    found = fid_statistics_to_metric(
        fid_features_to_statistics(a), fid_features_to_statistics(b), verbose=False
    )
    return float(found["frechet_inception_distance"])


@pytest.mark.parametrize("dim", [2, 8, 32, 96])
def test_equals_scipys_root_and_torch_fidelity_at_full_rank(dim: int) -> None:
    a, b = gaussian(4 * dim + 2, dim, 0), gaussian(5 * dim + 2, dim, 1, shift=0.3)
    assert frechet_distance(a, b) == pytest.approx(scipy_frechet(a, b), rel=1e-6)
    assert frechet_distance(a, b) == pytest.approx(fidelity_frechet(a, b), rel=1e-6)


@pytest.mark.parametrize(("n_a", "n_b"), [(32, 300), (33, 32), (20, 300), (20, 25), (2, 2)])
def test_equals_torch_fidelity_with_as_many_images_as_values_and_fewer(n_a: int, n_b: int) -> None:
    a, b = gaussian(n_a, 32, 0), gaussian(n_b, 32, 1, shift=0.3)
    assert frechet_distance(a, b) == pytest.approx(fidelity_frechet(a, b), rel=1e-4)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-7)


def commuting(variances: list[float], mean: float) -> Tensor:
    """2 D rows whose covariance is diagonal: rows +-c_i e_i about the mean."""
    spread = torch.tensor(variances, dtype=torch.float64)
    count = 2 * len(variances)
    rows = torch.diag((spread * (count - 1) / 2).sqrt())
    return torch.cat([rows, -rows]) + mean


def test_equals_the_closed_form_of_diagonal_covariances() -> None:
    a, b = commuting([1.0, 4.0, 9.0, 0.0], 1.0), commuting([4.0, 1.0, 0.0, 25.0], 3.0)
    spread = sum((x - y) ** 2 for x, y in [(1, 2), (2, 1), (3, 0), (0, 5)])
    assert frechet_distance(a, b) == pytest.approx(4 * 2.0**2 + spread, rel=1e-9)


def test_same_features_have_distance_zero_even_when_rank_deficient() -> None:
    a = gaussian(50, 16, 0)
    deficient = torch.cat([a, a[:, :4]], dim=1)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-4)
    assert frechet_distance(deficient, deficient.flip(0)) == pytest.approx(0, abs=1e-3)
    repeated = a[:5].repeat(20, 1)
    assert frechet_distance(repeated, a) == pytest.approx(fidelity_frechet(repeated, a), rel=1e-4)


def test_fits_given_once_equal_features_given_each_time() -> None:
    a, b = gaussian(40, 8, 0), gaussian(6, 8, 1)
    fits = gaussian_statistics(a), gaussian_statistics(b)
    assert frechet_distance(*fits) == frechet_distance(a, b)
    np.testing.assert_allclose(fits[0].covariance, np.cov(a.numpy(), rowvar=False), rtol=1e-9)
    np.testing.assert_allclose(fits[1].covariance, np.cov(b.numpy(), rowvar=False), rtol=1e-9)


def test_weights_act_as_repeated_rows_in_the_mean_and_as_reliability_in_the_covariance() -> None:
    x = gaussian(6, 3, 0)
    weights = torch.tensor([1, 2, 3, 1, 2, 3], dtype=torch.float64) / 12
    fit = gaussian_statistics(x, weights)
    np.testing.assert_allclose(fit.mean, np.average(x, axis=0, weights=weights))
    np.testing.assert_allclose(
        fit.covariance, np.cov(x, rowvar=False, aweights=weights.numpy()), rtol=1e-9
    )


def test_float16_features_are_computed_in_float64() -> None:
    a, b = gaussian(100, 8, 0).half(), gaussian(100, 8, 1).half()
    assert frechet_distance(a, b) == pytest.approx(
        frechet_distance(a.double(), b.double()), rel=1e-12
    )


def test_bad_row_lone_image_and_unequal_values_are_named() -> None:
    bad = gaussian(10, 4, 0)
    bad[7, 2] = float("nan")
    with pytest.raises(ValueError, match="image 7 are not finite"):
        gaussian_statistics(bad)
    with pytest.raises(ValueError, match="at least 2"):
        gaussian_statistics(bad[:1])
    with pytest.raises(ValueError, match="4 and 5 values an image"):
        frechet_distance(gaussian(10, 4, 0), gaussian(10, 5, 0))
    with pytest.raises(ValueError, match=r"\(10, 2, 2\).*\(images, values\)"):
        frechet_distance(gaussian(10, 4, 0).view(10, 2, 2), gaussian(10, 4, 0))
