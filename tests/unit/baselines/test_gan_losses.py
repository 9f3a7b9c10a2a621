import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from diffrop.baselines.gan_losses import (
    ClassBalance,
    group_spectral_norms,
    group_spectral_regulariser,
    hinge_discriminator_loss,
    hinge_generator_loss,
    relativistic_loss,
)
from diffrop.baselines.gan_networks import ConditionalBatchNorm, Generator


def logits_of(shares: np.ndarray) -> torch.Tensor:
    """One row of logits whose softmax is `shares`."""
    return torch.from_numpy(np.log(shares)).float().unsqueeze(0)


def balance_with(frequencies: list[float]) -> ClassBalance:
    balance = ClassBalance(len(frequencies), batch_size=8, forgetting=0.5)
    balance.frequencies.copy_(torch.tensor(frequencies))
    return balance


def test_class_balance_is_the_published_sum() -> None:
    frequencies = [8.0, 2.0, 1.0]
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    rows = [[math.exp(v) for v in row] for row in logits.tolist()]
    p_hat = [sum(row[k] / sum(row) for row in rows) / 5 for k in range(3)]
    scale = 3 / sum(1 / n for n in frequencies)
    expected = sum(scale * p * math.log(p) / n for p, n in zip(p_hat, frequencies, strict=True))
    assert balance_with(frequencies)(logits).item() == pytest.approx(expected, rel=1e-5)


def test_equal_frequencies_make_the_balance_a_negative_entropy() -> None:
    shares = np.array([0.7, 0.2, 0.1])
    value = balance_with([5.0, 5.0, 5.0])(logits_of(shares)).item()
    assert value == pytest.approx(float((shares * np.log(shares)).sum()), rel=1e-5)


def test_share_that_underflows_keeps_value_and_gradient_finite() -> None:
    logits = torch.tensor([[0.0, -500.0]], requires_grad=True)
    value = balance_with([4.0, 4.0])(logits)
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_minimum_of_the_balance_is_exponential_in_the_frequencies() -> None:
    """By Lagrange: p_k = exp(-lambda N_k - 1), so that log p_k + 1 is linear in N_k."""
    frequencies = np.array([9.0, 4.0, 1.5])
    balance = balance_with(frequencies.tolist())

    def loss(free: np.ndarray) -> float:
        shares = np.exp(free - free.max())
        return float(balance(logits_of(shares / shares.sum())))

    found = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"fatol": 1e-9}).x
    shares = np.exp(found) / np.exp(found).sum()
    multipliers = -(np.log(shares) + 1) / frequencies
    np.testing.assert_allclose(multipliers, multipliers.mean(), atol=5e-3)
    assert shares[0] < shares[1] < shares[2]


def test_frequencies_forget_exponentially() -> None:
    balance = ClassBalance(3, batch_size=30, forgetting=0.25)
    expected = [10.0, 10.0, 10.0]
    for counts in ([6, 2, 0], [0, 1, 7], [8, 0, 0]):
        labels = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
        for half in labels.chunk(2):
            balance(torch.nn.functional.one_hot(half, 3).float())
        balance.end_cycle()
        expected = [0.75 * n + 0.25 * c for n, c in zip(expected, counts, strict=True)]
    np.testing.assert_allclose(balance.frequencies.numpy(), expected, rtol=1e-6)
    for _ in range(40):
        balance.end_cycle()
    assert balance.frequencies.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("num_channels", "shape"), [(32, (4, 8)), (64, (8, 8)), (7, (1, 7))])
def test_group_norms_are_the_largest_singular_values(
    num_channels: int, shape: tuple[int, int]
) -> None:
    parameters = torch.randn(3, num_channels, generator=torch.Generator().manual_seed(1))
    norms = group_spectral_norms(parameters)
    for c in range(3):
        matrix = parameters[c].numpy().reshape(shape)
        assert norms[c].item() == pytest.approx(np.linalg.svd(matrix)[1][0], rel=1e-5)
        by_rows = math.sqrt(np.linalg.eigvalsh(matrix @ matrix.T).max())
        assert norms[c].item() == pytest.approx(by_rows, rel=1e-5)


def test_spectral_regulariser_is_the_weighted_sum_over_layers_and_classes() -> None:
    counts = [400, 30, 2]
    generator = Generator(8, 4, 3, (1, 16, 16))
    layers = [m for m in generator.modules() if isinstance(m, ConditionalBatchNorm)]
    rng = torch.Generator().manual_seed(0)
    for layer in layers:
        torch.nn.init.normal_(layer.gamma, generator=rng)
        torch.nn.init.normal_(layer.beta, generator=rng)
    inverse = [1 / math.fsum(0.999**i for i in range(count)) for count in counts]
    total = 0.0
    for layer in layers:
        for c in range(3):
            weight = 3 * inverse[c] / sum(inverse)
            for row in (layer.gamma[c], layer.beta[c]):
                sigma = np.linalg.svd(row.detach().numpy().reshape(2, 4), compute_uv=False)[0]
                total += weight * sigma**2
    value = group_spectral_regulariser(generator, torch.tensor(counts))
    assert len(layers) == 4
    assert value.item() == pytest.approx(total / (len(layers) * 3), rel=1e-5)


def test_spectral_regulariser_has_a_finite_gradient_at_the_start() -> None:
    generator = Generator(8, 4, 3, (1, 8, 8))
    group_spectral_regulariser(generator, torch.tensor([5, 3, 1])).backward()
    layer = next(m for m in generator.modules() if isinstance(m, ConditionalBatchNorm))
    assert layer.gamma.grad is not None
    assert torch.equal(layer.gamma.grad, torch.zeros(3, 8))


def test_adversarial_losses_have_their_known_values() -> None:
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert hinge_discriminator_loss(real, fake).item() == pytest.approx(0.25 + 0.5)
    assert hinge_generator_loss(fake).item() == pytest.approx(1.5)
    logistic = [math.log1p(math.exp(-5.0)), math.log1p(math.exp(-0.5))]
    assert relativistic_loss(real, fake).item() == pytest.approx(sum(logistic) / 2)
    tie = torch.zeros(4)
    assert relativistic_loss(tie, tie).item() == pytest.approx(math.log(2))
