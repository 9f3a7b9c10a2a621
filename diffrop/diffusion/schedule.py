"""The forward process q(x_t | x_0) and the posterior mean mu (Eq. 1, 9)."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from diffrop.config import DiffusionConfig


@dataclass(frozen=True)
class NoiseSchedule:
    """A variance schedule; each field is a tensor of shape (T,), indexed by t = 0 ... T-1.

    The paper counts t from 1; entry t here is its beta_{t+1}.
    """

    beta: Tensor
    alpha: Tensor
    alpha_bar: Tensor
    one_minus_alpha_bar: Tensor
    """Variance of the noise in x_t; subtracting alpha_bar in float32 would be 1.7e-4 off at 0."""
    mu_eps: Tensor
    """c_t = beta_t / (sqrt(alpha_t) sqrt(1 - alpha_bar_t)), the weight of eps in mu (Eq. 9)."""

    @classmethod
    def linear(
        cls, config: DiffusionConfig, dtype: torch.dtype = torch.float32
    ) -> "NoiseSchedule":
        """Linear betas as in Ho et al. (2020), computed in float64 and cast once to `dtype`."""
        steps = config.num_timesteps
        beta = torch.linspace(config.beta_start, config.beta_end, steps, dtype=torch.float64)
        alpha = 1 - beta
        alpha_bar = alpha.cumprod(0)
        mu_eps = beta / (alpha * (1 - alpha_bar)).sqrt()
        tables = (beta, alpha, alpha_bar, 1 - alpha_bar, mu_eps)
        return cls(*(table.to(dtype) for table in tables))

    @property
    def num_timesteps(self) -> int:
        """T."""
        return self.beta.shape[0]

    def to(self, device: torch.device | str) -> "NoiseSchedule":
        """Return the schedule on `device`."""
        return NoiseSchedule(*(getattr(self, item.name).to(device) for item in fields(self)))

    def q_sample(self, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Return x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps (Eq. 1).

        Args:
            x_0: clean images (B, C, H, W), float, in [-1, 1].
            t: timesteps (B,), int64, in 0 ... T-1.
            eps: standard normal noise, shaped as x_0.
        """
        noise = at(self.one_minus_alpha_bar, t, x_0).sqrt() * eps
        return at(self.alpha_bar, t, x_0).sqrt() * x_0 + noise

    def mu(self, x_t: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Return the posterior mean x_t / sqrt(alpha_t) - c_t eps (Eq. 9); shapes as q_sample."""
        return x_t / at(self.alpha, t, x_t).sqrt() - at(self.mu_eps, t, x_t) * eps

    def x_0(self, x_t: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Return the clean image that x_t and eps imply (the inverse of q_sample)."""
        noise = at(self.one_minus_alpha_bar, t, x_t).sqrt() * eps
        return (x_t - noise) / at(self.alpha_bar, t, x_t).sqrt()


def at(table: Tensor, t: Tensor, like: Tensor) -> Tensor:
    """Return table[t] shaped (B, 1, ...) to broadcast over `like` (B, ...), in its dtype."""
    return table[t].to(like.dtype).view(-1, *(1,) * (like.dim() - 1))
