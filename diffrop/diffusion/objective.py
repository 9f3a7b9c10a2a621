"""The training objective: DDPM's noise regression (Eq. 5) plus the contrastive term (Eq. 14)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffrop import distributed
from diffrop.config import ContrastiveConfig, DiffusionConfig
from diffrop.diffusion.contrastive import ContrastiveLoss, ContrastiveTerms
from diffrop.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class Draws:
    """The random choices of one training batch."""

    t: Tensor
    """Timesteps (B,), int64."""
    eps: Tensor
    """Noise (B, C, H, W), float32."""
    dropped: Tensor
    """Whether the label becomes null, bool (B,)."""


@dataclass(frozen=True)
class Losses:
    """The parts of the objective for this worker's share; their means over workers are global."""

    ddpm: Tensor
    contrastive: ContrastiveTerms | None

    @property
    def total(self) -> Tensor:
        """The scalar to minimise."""
        return self.ddpm if self.contrastive is None else self.ddpm + self.contrastive.loss


def draw(
    config: DiffusionConfig, shape: tuple[int, int, int, int], generator: torch.Generator
) -> Draws:
    """Draw for the global batch; every worker draws the same and takes its share.

    A loss without pairs draws in the same way, so that losses are compared under the same noise.
    The marginal of each t is uniform whatever `config.timesteps` says.

    Args:
        config: which images share a timestep and a noise, and how labels are dropped.
        shape: (B, C, H, W) of the global batch; B is a multiple of the group size if grouped.
        generator: on the device of the result.
    """
    batch, device = shape[0], generator.device
    group = {"grouped": config.group_size, "batch": batch, "per_sample": 1}[config.timesteps]
    t = torch.randint(config.num_timesteps, (batch // group,), generator=generator, device=device)
    # Without groups every pair of the batch may meet, so shared noise means one for all.
    sharing = group if config.timesteps == "grouped" else batch
    sharing = sharing if config.noise == "shared" else 1
    eps = torch.randn(batch // sharing, *shape[1:], generator=generator, device=device)
    count = batch if config.label_dropout_unit == "sample" else 1
    dropped = torch.rand(count, generator=generator, device=device) < config.label_dropout
    return Draws(
        t=t.repeat_interleave(group),
        eps=eps.repeat_interleave(sharing, dim=0),
        dropped=dropped.expand(batch),
    )


class Objective(nn.Module):
    """L_DM + L_PCL of one batch."""

    def __init__(
        self,
        diffusion: DiffusionConfig,
        contrastive: ContrastiveConfig,
        schedule: NoiseSchedule,
        class_counts: Tensor,
    ) -> None:
        """Arguments as in `ContrastiveLoss`."""
        super().__init__()
        self.schedule = schedule
        self.null_label = class_counts.shape[0]
        self.start_images = contrastive.start_images
        self.pcl: ContrastiveLoss | None = None
        if contrastive.form != "none":
            group = diffusion.group_size if diffusion.timesteps == "grouped" else None
            self.pcl = ContrastiveLoss(contrastive, schedule, class_counts, group)

    def forward(
        self, model: nn.Module, x_0: Tensor, labels: Tensor, draws: Draws, images_seen: int
    ) -> Losses:
        """Return the losses of this worker's share of the batch.

        Args:
            model: eps_theta(x_t, t, labels).
            x_0: this worker's images (B / workers, C, H, W), in [-1, 1].
            labels: their labels, int64.
            draws: of the global batch.
            images_seen: before this batch; the contrastive term waits for `start_images`.
        """
        t, eps = distributed.own_share(draws.t), distributed.own_share(draws.eps)
        labels = labels.masked_fill(distributed.own_share(draws.dropped), self.null_label)
        x_t = self.schedule.q_sample(x_0, t, eps)
        eps_theta = model(x_t, t, labels)
        ddpm = (eps_theta.float() - eps).square().mean()
        if self.pcl is None or images_seen < self.start_images:
            return Losses(ddpm=ddpm, contrastive=None)
        return Losses(ddpm=ddpm, contrastive=self.pcl(x_t, t, labels, eps, eps_theta))
