import math
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import norm

from diffrop.analysis.figures.toy_landscape import (
    CURVATURE,
    MARGIN,
    TRUE_MEANS,
    WEIGHTS,
    optimum,
    penalty,
    shift,
    toy_landscape_figure,
    toy_loss,
)
from diffrop.config import ContrastiveConfig, DiffusionConfig, Form
from diffrop.diffusion.contrastive import ContrastiveLoss
from diffrop.diffusion.schedule import NoiseSchedule

FORMS = get_args(Form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tau", [0.02, 0.2, 2.0])
def test_optimum_is_what_a_search_over_both_means_finds(form: Form, tau: float) -> None:
    best = optimum(form, tau)
    if best is None:
        assert form == "negative_l2"
        return

    def loss(means: np.ndarray) -> float:
        return float(toy_loss(form, tau, means[0], means[1]))

    starts = [(-1.0, 0.0), (0.0, 2.0), (1.0, 0.5), (-0.5, 5.0)]
    options = {"xatol": 1e-8, "fatol": 1e-14, "maxiter": 4000}
    runs = [minimize(loss, start, method="Nelder-Mead", options=options) for start in starts]
    found = min(runs, key=lambda run: run.fun)
    assert loss(np.array(best)) <= found.fun + 1e-10
    np.testing.assert_allclose(best, found.x, atol=1e-4)


def test_negative_l2_loses_its_minimum_where_the_hessian_stops_being_positive() -> None:
    for tau in (0.99 * CURVATURE, CURVATURE, 1.01 * CURVATURE):
        hessian = 2 * np.array([[WEIGHTS[0] - tau, tau], [tau, WEIGHTS[1] - tau]])
        positive = np.linalg.eigvalsh(hessian).min() > 1e-9
        assert (optimum("negative_l2", tau) is not None) == positive
    assert pytest.approx(0.0475) == CURVATURE
    far = toy_loss("negative_l2", 0.05, np.array([-1e3, 0.0]), np.array([2e4, 2.0]))
    assert far[0] < far[1] - 1e3
    assert shift("negative_l2", 0.05) == math.inf


def test_only_the_hinge_keeps_the_true_means() -> None:
    assert optimum("none", 0.2) == optimum("hinge", 0.2) == TRUE_MEANS
    assert 0 < shift("exponential", 0.2) < shift("reciprocal", 0.2) < shift("negative_l2", 0.04)


def test_rare_class_is_moved_by_the_ratio_of_the_weights() -> None:
    mean_1, mean_2 = optimum("reciprocal", 0.2) or (math.nan, math.nan)
    moved = (TRUE_MEANS[0] - mean_1, mean_2 - TRUE_MEANS[1])
    assert moved[1] / moved[0] == pytest.approx(WEIGHTS[0] / WEIGHTS[1])


@pytest.mark.parametrize("form", FORMS)
def test_penalty_is_that_of_the_training_loss(form: Form) -> None:
    tau = 0.1
    config = ContrastiveConfig(
        form=form,
        tau_0=tau,
        tau_schedule="constant",
        space="eps",
        margin_rule="constant",
        margin=MARGIN,
    )
    schedule = NoiseSchedule.linear(DiffusionConfig())
    loss = ContrastiveLoss(config, schedule, torch.tensor([95, 5]), group_size=2)
    labels, t = torch.tensor([0, 1]), torch.zeros(2, dtype=torch.int64)
    for means in ((0.0, 2.0), (0.3, 0.9), (1.0, 1.0), (-1.0, 4.0)):
        eps_theta = torch.tensor(means).view(2, 1, 1, 1)
        terms = loss(torch.zeros(2, 1, 1, 1), t, labels, torch.zeros(2, 1, 1, 1), eps_theta)
        expected = tau * penalty(form, (means[0] - means[1]) ** 2)
        assert terms.loss.item() == pytest.approx(expected, abs=1e-6)


def test_ddpm_part_is_the_kl_divergence_of_the_labelled_mixture() -> None:
    """Proposition 3.1 on the toy densities: KL over images and labels, by integration."""
    means, sigma = (0.4, 1.1), 0.7

    def integrand(x: float, c: int) -> float:
        log_q = norm.logpdf(x, TRUE_MEANS[c], sigma)
        log_p = norm.logpdf(x, means[c], sigma)
        return float(WEIGHTS[c] * math.exp(log_q) * (log_q - log_p))

    joint = sum(quad(integrand, -8, 10, args=(c,), epsabs=1e-12)[0] for c in (0, 1))
    assert joint * 2 * sigma**2 == pytest.approx(toy_loss("none", 0.0, *means), rel=1e-8)


def test_figure_marks_every_optimum_and_the_missing_minimum() -> None:
    figure = toy_landscape_figure(0.2)
    for axes in figure.axes[:5]:
        marks = {str(line.get_label()): line.get_xydata()[0] for line in axes.lines[1:]}
        best = optimum(axes.get_label(), 0.2)  # type: ignore[arg-type]
        np.testing.assert_allclose(marks["true means"], TRUE_MEANS)
        assert ("optimum" in marks) == (best is not None)
        if best is None:
            assert "no minimum" in axes.get_title(loc="left")
        else:
            np.testing.assert_allclose(marks["optimum"], best)
    curves = {str(line.get_label()) for line in figure.axes[5].lines}
    assert {"negative_l2", "reciprocal", "exponential"} <= curves
