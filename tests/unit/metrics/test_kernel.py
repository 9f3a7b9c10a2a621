import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from diffrop.metrics import kernel
from diffrop.metrics.kernel import kernel_distance, kernel_estimate
from tests.made.features import gaussian


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equals_torch_fidelity_on_its_own_subsets(dtype: torch.dtype) -> None:
    a, b = gaussian(120, 16, 0).to(dtype), gaussian(150, 16, 1, shift=0.1).to(dtype)
    theirs = kid_features_to_metric(a, b, kid_subsets=7, kid_subset_size=40, verbose=False)
    ours = kernel_distance(a, b, num_subsets=7, subset_size=40)
    rel = 1e-9 if dtype == torch.float64 else 1e-4
    assert ours.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=rel)
    assert ours.std == pytest.approx(theirs["kernel_inception_distance_std"], rel=rel)


def test_whole_set_equals_sums_over_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "TILE", 7)
    a, b = gaussian(12, 5, 0).numpy(), gaussian(17, 5, 1).numpy()

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 5 + 1) ** 3)

    own = np.mean([k(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    other = np.mean([k(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    across = np.mean([k(x, y) for x in a for y in b])
    found = kernel_estimate(torch.from_numpy(a), torch.from_numpy(b))
    assert found.value == pytest.approx(own + other - 2 * across, rel=1e-12)


def test_is_unbiased_at_any_number_of_images() -> None:
    """The mean over many small sets of one distribution is zero within its standard error."""
    pool = gaussian(4000, 6, 0)
    values = [kernel_estimate(*pool[i : i + 20].split(10)).value for i in range(0, 4000, 20)]
    error = np.std(values) / len(values) ** 0.5
    assert abs(np.mean(values)) < 3 * error


def test_subsets_larger_than_a_set_are_refused() -> None:
    a = gaussian(20, 4, 0)
    with pytest.raises(ValueError, match=r"subset_size is 30; allowed: 2 to 20"):
        kernel_distance(a, a, subset_size=30)
    a[3] = torch.nan
    with pytest.raises(ValueError, match="samples of image 3 are not finite"):
        kernel_distance(a, a, subset_size=3)


def test_float16_features_are_multiplied_in_float32() -> None:
    a, b = (10 * gaussian(60, 16, seed).half() for seed in (0, 1))
    expected = kernel_estimate(a.float(), b.float()).value
    assert kernel_estimate(a, b).value == pytest.approx(expected, rel=1e-6)
