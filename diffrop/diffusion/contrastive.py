"""The probabilistic contrastive loss (PCL) of DiffROP: Section 4 of the paper, Algorithm 1.

For ordered pairs (i, j) of a group of images with unequal labels, the loss is

    PCL = mean over pairs of tau(t_i) * phi(d_ij),    d_ij = || r_i - r_j ||^2 / (C H W)

where r is mu_theta (Eq. 9) or one of two other representations, and phi is one of the forms of
Section 4.2. Distances come from Gram products, so that memory is O(B D + B^2).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffrop import distributed
from diffrop.config import ContrastiveConfig, DistanceSpace, Form
from diffrop.diffusion.schedule import NoiseSchedule, at
from diffrop.models.compiled import compile_function_checked

QUANTILE_MOMENTUM = 0.1


@dataclass(frozen=True)
class ContrastiveTerms:
    """The loss of one batch and what a study logs of it."""

    loss: Tensor
    """Scalar; its mean over workers, and that of its gradients, is the global batch's."""
    num_pairs: Tensor
    """Valid ordered pairs in the global batch, float scalar without gradient."""
    active_share: Tensor
    """Share of valid pairs with d below the margin, as a mean over workers; 1 without a margin."""


def tau_table(config: ContrastiveConfig, num_timesteps: int) -> Tensor:
    """Return tau(t) for t = 0 ... T-1, float32 (T,); "time-dependent tau" of Section 4.2.

    The paper says only "temperature-controlled exponential decay"; we take
    tau_0 exp(-t / (kappa T)) with kappa the decay temperature.
    """
    s = torch.arange(num_timesteps, dtype=torch.float64) / num_timesteps
    match config.tau_schedule:
        case "exponential":
            shape = torch.exp(-s / config.decay_temperature)
        case "constant":
            shape = torch.ones_like(s)
        case "linear":
            shape = 1 - s
        case "cosine":
            shape = (1 + torch.cos(math.pi * s)) / 2
    return (config.tau_0 * shape).float()


def phi(form: Form, distance: Tensor, margin: Tensor) -> Tensor:
    """Return what a pair adds to the loss, phi of Section 4.2; each form is defined here alone.

    Args:
        form: which of the losses.
        distance: squared distances d, of any shape and floating dtype, 0 or more.
        margin: the hinge's, which broadcasts with `distance`; the other forms ignore it.
    """
    match form:
        case "negative_l2":
            return -distance
        case "hinge":
            return (margin - distance).clamp(min=0)
        case "reciprocal":
            return 1 / (1 + distance)
        case "exponential":
            return torch.exp(-distance)
        case "none":
            return torch.zeros_like(distance)


def representation(
    space: DistanceSpace, schedule: NoiseSchedule, x_t: Tensor, t: Tensor, eps: Tensor
) -> Tensor:
    """Return what the distance compares, flattened to (B, C*H*W), in at least float32.

    mu: Eq. 9. x0: sqrt(alpha_bar_t) times the predicted clean image, since unweighted it is
    amplified by 1 / alpha_bar_t in the squared distance (25,000 at t = 999). eps: the noise.
    """
    dtype = torch.promote_types(x_t.dtype, torch.float32)
    x_t, eps = x_t.to(dtype), eps.to(dtype)
    match space:
        case "mu":
            r = schedule.mu(x_t, t, eps)
        case "x0":
            r = x_t - at(schedule.one_minus_alpha_bar, t, x_t).sqrt() * eps
        case "eps":
            r = eps
    return r.flatten(1)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return || a_i - b_j ||^2 for a (G, n, D) and b (G, m, D) as (G, n, m), clamped at 0.

    Both are centred on b's mean first: distances do not change, cancellation shrinks. A group
    against itself (b is a) is centred and squared once.
    """
    centre = b.detach().mean(dim=1, keepdim=True)
    same = b is a
    a = a - centre
    b = a if same else b - centre
    a_squares = a.square().sum(-1)
    b_squares = a_squares if same else b.square().sum(-1)
    squares = a_squares.unsqueeze(2) + b_squares.unsqueeze(1)
    return (squares - 2 * a @ b.transpose(1, 2)).clamp(min=0)


class ContrastiveLoss(nn.Module):
    """PCL of a batch, under every option of `ContrastiveConfig`."""

    tau: Tensor
    class_counts: Tensor
    margin_quantile: Tensor

    def __init__(
        self,
        config: ContrastiveConfig,
        schedule: NoiseSchedule,
        class_counts: Tensor,
        group_size: int | None,
    ) -> None:
        """Prepare the tables.

        Args:
            config: form, tau(t), space, reductions, margin.
            schedule: the forward process.
            class_counts: training images per class (num_classes,); label num_classes is null.
            group_size: consecutive images that form pairs; None pairs the whole global batch.
        """
        super().__init__()
        self.config = config
        self.schedule = schedule
        self.group_size = group_size
        self.register_buffer("tau", tau_table(config, schedule.num_timesteps), persistent=False)
        self.register_buffer("class_counts", class_counts.clone(), persistent=False)
        running = torch.full((schedule.num_timesteps,), math.nan)
        self.register_buffer("margin_quantile", running)  # state of the quantile margin

    def forward(
        self, x_t: Tensor, t: Tensor, labels: Tensor, eps: Tensor, eps_theta: Tensor
    ) -> ContrastiveTerms:
        """Return the loss of this worker's part of the global batch.

        Args:
            x_t: noisy images (B, C, H, W).
            t: timesteps (B,), int64.
            labels: (B,), int64; num_classes for a dropped label, which forms no pairs.
            eps: the true noise, shaped as x_t.
            eps_theta: the network's noise, shaped as x_t, with gradient.
        """
        with torch.autocast(x_t.device.type, enabled=False):
            return ContrastiveTerms(*self._terms(x_t, t, labels, eps, eps_theta))

    def compile_checked(self, *example: Tensor) -> None:
        """Compile the loss: its many small operations become a few.

        Loss and gradient of an example, arguments as in `forward`, are compared with the eager
        ones; if that fails or differs, the loss stays eager, with one warning.
        """
        self._terms = compile_function_checked(  # type: ignore[method-assign]
            self._terms, example, state=[self.margin_quantile]
        )

    def _terms(
        self, x_t: Tensor, t: Tensor, labels: Tensor, eps: Tensor, eps_theta: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The fields of `ContrastiveTerms`; arguments as in `forward`."""
        space = self.config.space
        rows = self._grouped(representation(space, self.schedule, x_t, t, eps_theta))
        cols = self._partners(rows)
        row_labels, row_t = self._grouped(labels), self._grouped(t)
        col_labels = self._partners(row_labels)
        valid = self._valid_pairs(row_labels, col_labels)
        distance = self._distance(rows, cols, row_labels, col_labels, row_t)
        margin = distance.new_full((), math.inf)
        if self.config.form == "hinge":
            true = self._grouped(representation(space, self.schedule, x_t, t, eps))
            margin = self._margin(distance.detach(), valid, row_t, true)
        value = phi(self.config.form, distance, margin) * self.tau[row_t].unsqueeze(2)
        total = torch.where(valid, value, 0).sum()
        own_pairs = valid.sum().to(total.dtype)
        num_pairs = distributed.all_reduce_sum(own_pairs)
        scale = distributed.world_size()  # the workers' gradients are averaged, not summed
        if self.config.pair_reduction == "mean":
            total = total / num_pairs.clamp(min=1)
        active = (valid & (distance.detach() < margin)).sum() / num_pairs.clamp(min=1)
        return total * scale, num_pairs, active * scale

    def _grouped(self, tensor: Tensor) -> Tensor:
        """(B, ...) to (G, g, ...)."""
        size = self.group_size or tensor.shape[0]
        return tensor.view(-1, size, *tensor.shape[1:])

    def _partners(self, rows: Tensor) -> Tensor:
        """Images that may be j: the own group, or the whole global batch."""
        return rows if self.group_size else distributed.all_gather(rows[0]).unsqueeze(0)

    def _valid_pairs(self, row_labels: Tensor, col_labels: Tensor) -> Tensor:
        null = self.class_counts.shape[0]
        i, j = row_labels.unsqueeze(2), col_labels.unsqueeze(1)
        return (i != j) & (i != null) & (j != null)

    def _distance(
        self, rows: Tensor, cols: Tensor, row_labels: Tensor, col_labels: Tensor, row_t: Tensor
    ) -> Tensor:
        distance = squared_distances(rows, cols)
        if self.config.stop_gradient == "frequent":
            # Equal values, fewer gradients: the more frequent class of a pair stands still.
            padded = torch.nn.functional.pad(self.class_counts, (0, 1))  # the null label
            i, j = padded[row_labels].unsqueeze(2), padded[col_labels].unsqueeze(1)
            move_j = squared_distances(rows.detach(), cols)
            move_i = squared_distances(rows, cols.detach())
            distance = torch.where(i > j, move_j, torch.where(i < j, move_i, distance))
        return distance * self._distance_scale(rows.shape[-1], row_t)

    def _distance_scale(self, num_values: int, row_t: Tensor) -> Tensor:
        scale = 1 / num_values if self.config.distance_reduction == "mean" else 1.0
        factor = torch.full_like(self.tau, scale)
        if self.config.variance_scale:  # sigma_t^2 = beta_t, the fixed-large variance
            factor = factor / (2 * self.schedule.beta)
        return factor[row_t].unsqueeze(2)

    def _margin(self, distance: Tensor, valid: Tensor, row_t: Tensor, true: Tensor) -> Tensor:
        """Hinge margin mu_t of every pair (Eq. 15 leaves it open), without gradient."""
        match self.config.margin_rule:
            case "constant":
                return distance.new_full((), self.config.margin)
            case "oracle":
                exact = squared_distances(true, self._partners(true))
                scale = self._distance_scale(true.shape[-1], row_t)
                return self.config.margin * exact * scale
            case "quantile":
                if self.training:
                    self._update_quantile(distance, valid, row_t)
                return self.margin_quantile[row_t].unsqueeze(2).nan_to_num(0)

    def _update_quantile(self, distance: Tensor, valid: Tensor, row_t: Tensor) -> None:
        """Move the running quantile of every t of this batch towards the batch's own.

        The batch's is the mean over images of the quantile of each image's distances.
        """
        found = distance.masked_fill(~valid, math.nan)
        quantile = found.nanquantile(self.config.margin, dim=2).flatten().float()
        t, seen = row_t.flatten(), (~quantile.isnan()).float()
        sums = torch.zeros_like(self.margin_quantile).index_add_(0, t, quantile.nan_to_num(0))
        hits = torch.zeros_like(sums).index_add_(0, t, seen)
        sums, hits = distributed.all_reduce_sum(torch.stack([sums, hits]))
        batch = sums / hits.clamp(min=1)
        old = torch.where(self.margin_quantile.isnan(), batch, self.margin_quantile)
        moved = old.lerp(batch, QUANTILE_MOMENTUM)
        self.margin_quantile.copy_(torch.where(hits > 0, moved, self.margin_quantile))
