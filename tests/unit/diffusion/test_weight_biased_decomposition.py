import pytest
import torch
from torch import Tensor, nn

from diffrop.config import DataConfig, DiffusionConfig
from diffrop.data import load_dataset
from diffrop.diffusion.sampling import from_uint8
from diffrop.diffusion.schedule import NoiseSchedule


def kl_terms(model: nn.Embedding, x_0: Tensor, labels: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """D_KL[q(x_{t-1} | x_t, x_0) || p_theta(x_{t-1} | x_t, c)] of each image, at its own t."""
    schedule = NoiseSchedule.linear(DiffusionConfig())
    x_t = schedule.q_sample(x_0, t, eps)
    eps_theta = model(labels).view(-1, 1, 1, 1) * x_t
    distance = schedule.mu(x_t, t, eps) - schedule.mu(x_t, t, eps_theta)
    return distance.square().flatten(1).sum(1) / (2 * schedule.beta[t])


def test_objective_is_the_class_share_weighted_sum_over_classes() -> None:
    """Proposition 3.1, for the loss and for its gradient, on a long-tailed set."""
    train = load_dataset(DataConfig(dataset="digits", imbalance_factor=0.1)).train
    rng = torch.Generator().manual_seed(0)
    x_0 = from_uint8(train.images)
    t = torch.randint(1, 1000, (len(x_0),), generator=rng)
    eps = torch.randn(x_0.shape, generator=rng)
    model = nn.Embedding(10, 1)
    nn.init.normal_(model.weight, generator=rng)
    whole = kl_terms(model, x_0, train.labels, t, eps).mean()
    weighted = torch.zeros(())
    for c, count in enumerate(train.class_counts):
        own = train.labels == c
        share = count / len(x_0)
        weighted = (
            weighted
            + share * kl_terms(model, x_0[own], train.labels[own], t[own], eps[own]).mean()
        )
    assert weighted.item() == pytest.approx(whole.item(), rel=1e-5)
    gradients = [torch.autograd.grad(loss, model.weight)[0] for loss in (whole, weighted)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-4)
