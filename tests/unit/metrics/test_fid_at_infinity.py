import pytest
import torch

from diffrop.metrics.fid_at_infinity import fid_infinity
from diffrop.metrics.frechet import GaussianStatistics, frechet_distance
from tests.made.features import gaussian


def test_bias_of_few_samples_is_taken_away() -> None:
    """Samples of the reference's own distribution: FID is all bias, and its limit is zero."""
    dim = 16
    reference = GaussianStatistics(torch.zeros(dim).double(), torch.eye(dim).double(), 10**9)
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(4000, dim, generator=rng, dtype=torch.float64)
    found = fid_infinity(x, reference)
    biased = frechet_distance(x, reference)
    assert found.num_samples[-1] == 4000 and found.fids[-1] == pytest.approx(biased)
    # To second order E FID = D / N of the means and D (D + 1) / (4 N) of the covariances.
    slope = dim + dim * (dim + 1) / 4
    assert biased == pytest.approx(slope / 4000, rel=0.25)
    assert found.slope == pytest.approx(slope, rel=0.25)
    assert abs(found.value) < 0.3 * biased


def test_impossible_fits_are_refused() -> None:
    x = gaussian(12, 3, 0)
    with pytest.raises(ValueError, match="15 points from 1 of 12 samples"):
        fid_infinity(x, x)
    with pytest.raises(ValueError, match="at least 3 points"):
        fid_infinity(x, x, num_points=2, smallest_share=0.5)
