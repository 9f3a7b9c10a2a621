"""The losses of the GAN baselines: adversarial, CBGAN's class balance, gSR's spectral norms."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffrop.baselines.gan_networks import ConditionalBatchNorm

EFFECTIVE_NUMBER_BETA = 0.999
LEAST_FREQUENCY = 1.0


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return mean max(0, 1 - D(x)) + mean max(0, 1 + D(G(z))) of logits (B,)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator_loss(fake: Tensor) -> Tensor:
    """Return -mean D(G(z))."""
    return -fake.mean()


def relativistic_loss(winner: Tensor, loser: Tensor) -> Tensor:
    """Return -mean log sigmoid(winner - loser) of logits (B,), Jolicoeur-Martineau (2019).

    The discriminator's with real images as winners, the generator's with generated ones.
    """
    return -F.logsigmoid(winner - loser).mean()


class ClassBalance(nn.Module):
    """CBGAN's regulariser and its class statistics (Rangwani et al., 2021).

    p_hat is the classifier's mean output over a batch of generated images, N_k the effective
    frequency of class k among all images generated so far: exponentially forgotten counts c_k of
    the predicted classes, N <- (1 - alpha) N + alpha c, at least 1. The regulariser is

        sum_k w_k p_hat_k log p_hat_k,    w_k = (1 / N_k) / mean_j (1 / N_j)

    whose minimum over all p_hat has p_hat_k ~ exp(-lambda N_k): classes that were seldom generated
    become likely. The factor before c and the scale of w are those of the authors' code.
    """

    frequencies: Tensor
    counts: Tensor

    def __init__(self, num_classes: int, batch_size: int, forgetting: float) -> None:
        """Start from equal frequencies of a batch; `forgetting` is alpha, 0 < alpha <= 1."""
        super().__init__()
        start = torch.full((num_classes,), max(LEAST_FREQUENCY, batch_size / num_classes))
        self.register_buffer("frequencies", start)
        self.register_buffer("counts", torch.zeros(num_classes))
        self.forgetting = forgetting

    def forward(self, logits: Tensor) -> Tensor:
        """Return the regulariser of the classifier's logits (B, C), and count their classes."""
        # From logarithms, because the share of a class that is never seen underflows.
        log_share = logits.log_softmax(dim=1).logsumexp(dim=0) - math.log(len(logits))
        weights = 1 / self.frequencies
        self.counts += torch.bincount(logits.argmax(dim=1), minlength=len(self.counts))
        return (weights / weights.mean() * log_share.exp() * log_share).sum()

    def end_cycle(self) -> None:
        """Move the frequencies towards what was counted since the last call."""
        moved = self.frequencies.lerp(self.counts, self.forgetting)
        self.frequencies.copy_(moved.clamp(min=LEAST_FREQUENCY))
        self.counts.zero_()


def group_spectral_norms(parameters: Tensor) -> Tensor:
    """Return sigma_max of each row of (num_classes, C) folded to a matrix: (num_classes,).

    The matrix is the most nearly square one of C values (Rangwani et al., 2022). We take singular
    values exactly; the authors iterate powers, for speed.
    """
    num_channels = parameters.shape[1]
    height = max(
        h for h in range(1, num_channels + 1) if num_channels % h == 0 and h * h <= num_channels
    )
    groups = parameters.view(-1, height, num_channels // height)
    return torch.linalg.matrix_norm(groups, ord=2)


def group_spectral_regulariser(generator: nn.Module, class_counts: Tensor) -> Tensor:
    """Return gSR's loss before its lambda (Rangwani et al., 2022), reduced as in their code.

    The mean over layers l and classes y of lambda_y (sigma_max(Gamma_y^l)^2 +
    sigma_max(B_y^l)^2), where Gamma_y and B_y are a class's folded gains (without their 1) and
    biases, and lambda_y falls with the effective number of its images (beta = 0.999), mean 1.

    Args:
        generator: with conditional batch normalisation.
        class_counts: training images per class (C,), at least 1 each.
    """
    weights = 1 / (1 - EFFECTIVE_NUMBER_BETA ** class_counts.double())
    weights = (weights / weights.mean()).float()
    layers = [m for m in generator.modules() if isinstance(m, ConditionalBatchNorm)]
    terms = [
        weights * group_spectral_norms(parameters).square()
        for layer in layers
        for parameters in (layer.gamma, layer.beta)
    ]
    return torch.stack(terms).sum() / (len(layers) * len(class_counts))
