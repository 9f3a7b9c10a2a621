"""Batches of the contrastive loss, and the loss by a double loop over pairs."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffrop.config import ContrastiveConfig, DiffusionConfig
from diffrop.diffusion.contrastive import ContrastiveLoss, ContrastiveTerms
from diffrop.diffusion.schedule import NoiseSchedule

CLASS_COUNTS = torch.tensor([10, 4, 4, 1])
NULL = 4
LABELS = [0, 1, 2, 3, 1, NULL, 3, 0, 2, 0, 0, 1]
GROUP_SIZE = 4
SHAPE = (2, 2, 2)
DIFFUSION = DiffusionConfig(num_timesteps=20, beta_start=0.02, beta_end=0.3)
TIMESTEPS = {
    "grouped": [3] * 4 + [11] * 4 + [3] * 4,
    "batch": [7] * 12,
    "per_sample": [0, 3, 11, 5, 19, 2, 8, 14, 3, 17, 6, 10],
}
FORMS = ["none", "negative_l2", "hinge", "reciprocal", "exponential"]
SPACES = ["mu", "x0", "eps"]
RULES = ["oracle", "constant", "quantile"]
MARGINS = {"oracle": 1.0, "constant": 1.0, "quantile": 0.37}
FORMS_AND_RULES = [(form, "oracle") for form in FORMS if form != "hinge"] + [
    ("hinge", rule) for rule in RULES
]


@dataclass(frozen=True)
class Batch:
    """What the loss receives, and which images may meet."""

    x_t: Tensor
    t: Tensor
    labels: Tensor
    eps: Tensor
    eps_theta: Tensor
    group_size: int | None

    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.x_t, self.t, self.labels, self.eps


@dataclass(frozen=True)
class Expected:
    """The loss by a double loop over pairs."""

    loss: float
    gradient: np.ndarray
    num_pairs: int
    active_share: float


def float64_schedule(config: DiffusionConfig = DIFFUSION) -> NoiseSchedule:
    steps = config.num_timesteps
    beta = torch.linspace(config.beta_start, config.beta_end, steps, dtype=torch.float64)
    alpha_bar = torch.cumprod(1 - beta, 0)
    mu_eps = beta / ((1 - beta).sqrt() * (1 - alpha_bar).sqrt())
    return NoiseSchedule(beta, 1 - beta, alpha_bar, 1 - alpha_bar, mu_eps)


def make_batch(
    timesteps: str = "grouped",
    noise: str = "own",
    labels: list[int] = LABELS,
    shape: tuple[int, int, int] = SHAPE,
    seed: int = 0,
) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    size = (len(labels), *shape)
    x_0 = 0.4 * torch.randn(size, generator=generator, dtype=torch.float64)
    eps = torch.randn(size, generator=generator, dtype=torch.float64)
    if noise == "shared":
        sharing = GROUP_SIZE if timesteps == "grouped" else len(labels)
        eps = eps[::sharing].repeat_interleave(sharing, dim=0)
    t = torch.tensor(TIMESTEPS[timesteps][: len(labels)])
    eps_theta = eps + 0.15 * torch.randn(size, generator=generator, dtype=torch.float64)
    return Batch(
        x_t=float64_schedule().q_sample(x_0, t, eps),
        t=t,
        labels=torch.tensor(labels),
        eps=eps,
        eps_theta=eps_theta,
        group_size=GROUP_SIZE if timesteps == "grouped" else None,
    )


def make_loss(
    config: ContrastiveConfig, group_size: int | None, counts: Tensor = CLASS_COUNTS
) -> ContrastiveLoss:
    return ContrastiveLoss(config, float64_schedule(), counts, group_size)


def evaluate(loss: ContrastiveLoss, batch: Batch) -> tuple[ContrastiveTerms, Tensor]:
    """The terms and the gradient with respect to eps_theta (the form none has no graph)."""
    eps_theta = batch.eps_theta.clone().requires_grad_()
    terms = loss(*batch.inputs(), eps_theta)
    if not terms.loss.requires_grad:
        return terms, torch.zeros_like(eps_theta)
    (gradient,) = torch.autograd.grad(terms.loss, eps_theta)
    return terms, gradient


def tau_of(config: ContrastiveConfig, t: int, num_timesteps: int) -> float:
    share = t / num_timesteps
    factors = {
        "exponential": math.exp(-t / (config.decay_temperature * num_timesteps)),
        "constant": 1.0,
        "linear": 1 - share,
        "cosine": math.cos(math.pi * share / 2) ** 2,
    }
    return config.tau_0 * factors[config.tau_schedule]


class BruteForce:
    """The loss of one batch and its gradient by hand, from Eq. 8 to 15 and Algorithm 1."""

    def __init__(self, config: ContrastiveConfig, batch: Batch) -> None:
        self.config = config
        self.num_timesteps = DIFFUSION.num_timesteps
        self.beta = np.linspace(DIFFUSION.beta_start, DIFFUSION.beta_end, self.num_timesteps)
        self.alpha_bar = np.array([np.prod(1 - self.beta[: t + 1]) for t in range(20)])
        self.t = batch.t.tolist()
        self.labels = batch.labels.tolist()
        self.counts = CLASS_COUNTS.tolist()
        self.num_values = batch.x_t[0].numel()
        size = batch.group_size or len(self.labels)
        self.pairs = [
            (i, j)
            for i, j in itertools.product(range(len(self.labels)), repeat=2)
            if i // size == j // size
            and NULL not in (self.labels[i], self.labels[j])
            and self.labels[i] != self.labels[j]
        ]
        self.x_t = batch.x_t.flatten(1).numpy()
        self.r = self.represent(batch.eps_theta.flatten(1).numpy())
        self.r_true = self.represent(batch.eps.flatten(1).numpy())
        self.d = {(i, j): self.distance(self.r, i, j) for i, j in self.pairs}
        self.quantiles: dict[int, float] = {}

    def noise_weight(self, t: int) -> float:
        """The derivative of an image's representation with respect to its eps_theta."""
        alpha, alpha_bar = 1 - self.beta[t], self.alpha_bar[t]
        return {
            "mu": -(1 - alpha) / (math.sqrt(alpha) * math.sqrt(1 - alpha_bar)),
            "x0": -math.sqrt(1 - alpha_bar),
            "eps": 1.0,
        }[self.config.space]

    def represent(self, eps: np.ndarray) -> list[np.ndarray]:
        rows = []
        for x_t, row, t in zip(self.x_t, eps, self.t, strict=True):
            alpha, alpha_bar = 1 - self.beta[t], self.alpha_bar[t]
            x_0 = (x_t - math.sqrt(1 - alpha_bar) * row) / math.sqrt(alpha_bar)
            mu = (x_t - (1 - alpha) / math.sqrt(1 - alpha_bar) * row) / math.sqrt(alpha)
            space = {"mu": mu, "x0": math.sqrt(alpha_bar) * x_0, "eps": row}
            rows.append(space[self.config.space])
        return rows

    def scale(self, i: int) -> float:
        scale = 1 / self.num_values if self.config.distance_reduction == "mean" else 1.0
        return scale / (2 * self.beta[self.t[i]]) if self.config.variance_scale else scale

    def distance(self, r: list[np.ndarray], i: int, j: int) -> float:
        difference = r[i] - r[j]
        return self.scale(i) * float(difference @ difference)

    def first_quantile(self, t: int) -> float:
        """The margin after one batch: mean over the images at t of their own quantile."""
        quantiles = []
        for i in [i for i in range(len(self.t)) if self.t[i] == t]:
            distances = [d for (first, _), d in self.d.items() if first == i]
            if distances:
                quantiles.append(np.quantile(distances, self.config.margin))
        return float(np.mean(quantiles))

    def margin(self, i: int, j: int) -> float:
        if self.config.margin_rule == "oracle":
            return self.config.margin * self.distance(self.r_true, i, j)
        if self.config.margin_rule == "constant":
            return self.config.margin
        if not self.quantiles:
            seen = {self.t[i] for i, _ in self.pairs}
            self.quantiles = {t: self.first_quantile(t) for t in seen}
        return self.quantiles[self.t[i]]

    def value_and_slope(self, i: int, j: int) -> tuple[float, float]:
        """phi(d_ij) and its derivative."""
        d = self.d[i, j]
        if self.config.form == "hinge":
            margin = self.margin(i, j)
            return max(0.0, margin - d), -1.0 if d < margin else 0.0
        return {
            "none": (0.0, 0.0),
            "negative_l2": (-d, -1.0),
            "reciprocal": (1 / (1 + d), -1 / (1 + d) ** 2),
            "exponential": (math.exp(-d), -math.exp(-d)),
        }[self.config.form]

    def moves(self, i: int, j: int) -> tuple[bool, bool]:
        if self.config.stop_gradient == "none":
            return True, True
        count_i, count_j = (self.counts[self.labels[k]] for k in (i, j))
        return count_i <= count_j, count_j <= count_i

    def expected(self) -> Expected:
        loss, num_active = 0.0, 0
        gradient = np.zeros_like(self.x_t)
        for i, j in self.pairs:
            value, slope = self.value_and_slope(i, j)
            tau = tau_of(self.config, self.t[i], self.num_timesteps)
            loss += tau * value
            num_active += self.config.form != "hinge" or value > 0
            if slope == 0:
                continue
            push = tau * slope * self.scale(i) * 2 * (self.r[i] - self.r[j])
            moves_i, moves_j = self.moves(i, j)
            if moves_i:
                gradient[i] += push * self.noise_weight(self.t[i])
            if moves_j:
                gradient[j] -= push * self.noise_weight(self.t[j])
        total = len(self.pairs) if self.config.pair_reduction == "mean" else 1
        share = num_active / len(self.pairs)
        return Expected(loss / total, gradient / total, len(self.pairs), share)
