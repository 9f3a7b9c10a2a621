import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from diffrop.metrics.prd import f_beta, prd_curve, prd_f_beta
from tests.made.features import gaussian, in_classes


def test_curve_of_given_clusters_is_exact() -> None:
    """Two clusters: reference (1/4, 3/4), samples (1/2, 1/2)."""
    samples, reference = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    precision, recall = prd_curve(samples, reference, num_clusters=2, num_angles=3)
    # The middle angle has slope 1: min(1/4, 1/2) + min(3/4, 1/2) = 3/4.
    assert precision[1] == pytest.approx(3 / 4) and recall[1] == pytest.approx(3 / 4)
    assert precision[2] == pytest.approx(1) and recall[0] == pytest.approx(1)
    # F_8 is greatest where recall still is 1: at slope 2/3 precision is 1/6 + 1/2 = 2/3.
    fine = prd_curve(samples, reference, num_clusters=2, num_angles=100_001)
    p, r = 2 / 3, 1.0
    assert f_beta(*fine, 8) == pytest.approx(65 * p * r / (64 * p + r), abs=1e-4)


def test_f_beta_of_disjoint_and_equal_sets() -> None:
    near, far = gaussian(60, 4, 0), gaussian(60, 4, 0, shift=1e4)
    apart = prd_f_beta(near, far, num_clusters=4, num_runs=2)
    assert (apart.f_8, apart.f_1_8) == pytest.approx((0, 0), abs=1e-6)
    same = prd_f_beta(near, near.flip(0), num_clusters=4, num_runs=2)
    assert (same.f_8, same.f_1_8) == pytest.approx((1, 1), abs=1e-5)


def test_missing_modes_cost_recall_and_invented_ones_precision() -> None:
    x, labels = in_classes(700, 0, dim=20)
    x += 10 * torch.nn.functional.one_hot(labels, 20)
    dropped, complete = x[labels < 5], x
    count = len(dropped)
    missing = prd_f_beta(dropped, complete[:count], num_clusters=7)
    invented = prd_f_beta(complete[:count], dropped, num_clusters=7)
    assert missing.f_8 < 0.85 < 0.95 < missing.f_1_8
    assert invented.f_1_8 < 0.85 < 0.95 < invented.f_8


def test_equals_full_k_means_within_the_noise_of_seeds() -> None:
    a, _ = in_classes(400, 0)
    b, _ = in_classes(400, 1)
    b = b * 1.3
    values = []
    for seed in range(8):
        labels = KMeans(10, n_init=1, random_state=seed).fit_predict(torch.cat([a, b]).numpy())
        curve = prd_curve(labels[:400], labels[400:], 10)
        values.append((f_beta(*curve, 8), f_beta(*curve, 1 / 8)))
    found = prd_f_beta(a, b, num_clusters=10)
    mean, noise = np.mean(values, axis=0), np.std(values, axis=0)
    assert found.f_8 == pytest.approx(mean[0], abs=3 * noise[0] + 0.01)
    assert found.f_1_8 == pytest.approx(mean[1], abs=3 * noise[1] + 0.01)
    assert found == prd_f_beta(a, b, num_clusters=10)


def test_unequal_sets_are_refused() -> None:
    a = gaussian(20, 4, 0)
    with pytest.raises(ValueError, match="20 samples and 19 reference images"):
        prd_f_beta(a, a[:19], num_clusters=3)
    with pytest.raises(ValueError, match="num_clusters is 41; allowed: 1 to 40"):
        prd_f_beta(a, a, num_clusters=41)
