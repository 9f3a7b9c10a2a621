import numpy as np
import pytest
import scipy.spatial.distance
import torch
from torch import Tensor
from torch_fidelity.metric_prc import calculate_precision_recall_part

from diffrop.metrics import neighbours
from diffrop.metrics.neighbours import memorisation, nearest, precision_recall
from tests.made.features import gaussian, in_classes


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "TILE", 13)


def brute_force(samples: Tensor, reference: Tensor, k: int) -> tuple[float, float]:
    """Precision and recall by loops over all images."""

    def covered(points: np.ndarray, centres: np.ndarray) -> float:
        found = 0
        for point in points:
            for i, centre in enumerate(centres):
                others = np.delete(centres, i, axis=0)
                radius = np.sort(np.linalg.norm(others - centre, axis=1))[k - 1]
                if np.linalg.norm(point - centre) <= radius:
                    found += 1
                    break
        return found / len(points)

    a, b = samples.numpy(), reference.numpy()
    return covered(a, b), covered(b, a)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_equal_brute_force_and_torch_fidelity(k: int) -> None:
    a, b = gaussian(41, 6, 0), gaussian(37, 6, 1, shift=0.5)
    found = precision_recall(a, b, k)
    assert (found.precision, found.recall) == brute_force(a, b, k)
    assert (found.precision, found.recall) == pytest.approx(
        calculate_precision_recall_part(a, b, neighborhood=k), rel=1e-6
    )
    assert 0 < found.precision < 1 and 0 < found.recall < 1
    swapped = precision_recall(b, a, k)
    assert (swapped.recall, swapped.precision) == (found.precision, found.recall)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_repeated_rows_are_within_their_own_reach(dtype: torch.dtype) -> None:
    a = (gaussian(20, 6, 0) * 100 + 1000).to(dtype)
    repeated = a.repeat(3, 1)
    found = precision_recall(repeated, repeated.flip(0), k=2)  # every radius is zero
    assert (found.precision, found.recall) == (1.0, 1.0)
    far = precision_recall(repeated, (repeated.float() + 500).to(dtype), k=2)
    assert (far.precision, far.recall) == (0.0, 0.0)


def test_nearest_equals_scipys_distances() -> None:
    a, b = gaussian(30, 4, 0), gaussian(40, 4, 1)
    distances = scipy.spatial.distance.cdist(a.numpy(), b.numpy())
    found, rows = nearest(a, b)
    np.testing.assert_allclose(found.numpy(), distances.min(axis=1), rtol=1e-9)
    assert rows.tolist() == distances.argmin(axis=1).tolist()


def test_copies_are_memorised_and_fresh_images_are_not() -> None:
    training, _ = in_classes(140, 0)
    heldout, heldout_labels = in_classes(210, 1)
    fresh, labels = in_classes(210, 2)
    copies = training.repeat(2, 1)[:210] + 1e-4
    honest = memorisation(fresh, training, heldout, labels, heldout_labels)
    assert abs(honest.z) < 3 and honest.closer == pytest.approx(0.5, abs=0.08)
    copied = memorisation(copies, training, heldout, labels, heldout_labels)
    assert copied.closer > 0.99 and copied.z > 10
    assert copied.median_sample < 0.01 * copied.median_heldout


def test_memorisation_z_is_standard_normal_when_nothing_is_copied() -> None:
    values = []
    for seed in range(0, 600, 3):
        (training, _), (a, of_a), (b, of_b) = (in_classes(42, seed + i) for i in range(3))
        values.append(memorisation(a, training, b, of_a, of_b).z)
    # Both sets are compared with the same training images, whatever those are.
    assert abs(np.mean(values)) < 0.3
    assert np.std(values) == pytest.approx(1, abs=0.2)


def test_unbalanced_heldout_images_do_not_pass_for_copying() -> None:
    """Class 6 has one training image: its images lie farther, and are mostly held out."""
    training, of_training = in_classes(700, 0)
    training = training[(of_training != 6) | (torch.arange(700) == 6)]
    heldout, of_heldout = in_classes(700, 1)
    skewed = (of_heldout == 6) | (torch.arange(700) < 70)
    samples, labels = in_classes(700, 2)
    within = memorisation(samples, training, heldout[skewed], labels, of_heldout[skewed])
    across = memorisation(samples, training, heldout[skewed])
    assert abs(within.z) < 3 < across.z


def test_what_cannot_be_compared_is_refused() -> None:
    a = gaussian(6, 3, 0)
    with pytest.raises(ValueError, match=r"of 5 image\(s\); allowed: at least 6"):
        precision_recall(a[:5], a, k=5)
    with pytest.raises(ValueError, match="no class has both"):
        memorisation(a, a, a, torch.zeros(6), torch.ones(6))
