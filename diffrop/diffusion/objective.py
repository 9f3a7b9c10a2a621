"""The training objective: DDPM's noise regression (Eq. 5) plus the contrastive term (Eq. 14).

The regression may be weighted by class (Table 4), and CBDM's regulariser may stand beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffrop import distributed
from diffrop.config import ContrastiveConfig, DiffusionConfig, ObjectiveConfig
from diffrop.diffusion.cbdm import cbdm_regulariser
from diffrop.diffusion.contrastive import ContrastiveLoss, ContrastiveTerms
from diffrop.diffusion.schedule import NoiseSchedule

Network = Callable[..., Tensor]


@dataclass(frozen=True)
class Draws:
    """The random choices of one training batch."""

    t: Tensor
    """Timesteps (B,), int64."""
    eps: Tensor
    """Noise (B, C, H, W), float32."""
    dropped: Tensor
    """Whether the label becomes null, bool (B,)."""
    other_labels: Tensor | None = None
    """CBDM's y_bal, int64 (B,); None without CBDM."""
    augmentation: Tensor | None = None
    """The network's inputs about each image's augmentation, float32 (B, 9); None without it."""


@dataclass(frozen=True)
class Losses:
    """The parts of the objective for this worker's share; their means over workers are global."""

    ddpm: Tensor
    contrastive: ContrastiveTerms | None
    cbdm: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """The scalar to minimise."""
        total = self.ddpm if self.cbdm is None else self.ddpm + self.cbdm
        return total if self.contrastive is None else total + self.contrastive.loss


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

    class_weights: Tensor

    def __init__(
        self,
        diffusion: DiffusionConfig,
        contrastive: ContrastiveConfig,
        schedule: NoiseSchedule,
        class_counts: Tensor,
        config: ObjectiveConfig | None = None,
    ) -> None:
        """Arguments as in `ContrastiveLoss`; `config` is plain DDPM by default."""
        super().__init__()
        self.config = config or ObjectiveConfig()
        self.schedule = schedule
        self.null_label = class_counts.shape[0]
        self.start_images = contrastive.start_images
        weights = class_weights(class_counts)
        self.register_buffer("class_weights", weights, persistent=False)
        self.pcl: ContrastiveLoss | None = None
        if contrastive.form != "none":
            group = diffusion.group_size if diffusion.timesteps == "grouped" else None
            self.pcl = ContrastiveLoss(contrastive, schedule, class_counts, group)

    def forward(
        self, model: Network, x_0: Tensor, labels: Tensor, draws: Draws, images_seen: int
    ) -> Losses:
        """Return the losses of this worker's share of the batch.

        CBDM's two branches go through the network as one batch: the same x_t and t, once with the
        images' labels and once with the others. The contrastive term takes the former.

        Args:
            model: eps_theta(x_t, t, labels), with the augmentation vector last if there is one.
            x_0: this worker's images (B / workers, C, H, W), in [-1, 1].
            labels: their labels, int64.
            draws: of the global batch.
            images_seen: before this batch; the contrastive term waits for `start_images`.
        """
        t, eps = distributed.own_share(draws.t), distributed.own_share(draws.eps)
        dropped = distributed.own_share(draws.dropped)
        conditions = labels.masked_fill(dropped, self.null_label)
        x_t = self.schedule.q_sample(x_0, t, eps)
        inputs = [x_t, t, conditions]
        if draws.augmentation is not None:
            inputs.append(distributed.own_share(draws.augmentation))
        cbdm = None
        if draws.other_labels is None:
            eps_theta = model(*inputs)
        else:
            others = [x_t, t, distributed.own_share(draws.other_labels), *inputs[3:]]
            both = model(*(torch.cat(pair) for pair in zip(inputs, others, strict=True)))
            eps_theta, eps_other = both.chunk(2)
            steps = self.schedule.num_timesteps
            cbdm = cbdm_regulariser(self.config, eps_theta, eps_other, t / steps, dropped)
        ddpm = self._regression(eps_theta, eps, labels)
        if self.pcl is None or images_seen < self.start_images:
            return Losses(ddpm, None, cbdm)
        return Losses(ddpm, self.pcl(x_t, t, conditions, eps, eps_theta), cbdm)

    def _regression(self, eps_theta: Tensor, eps: Tensor, labels: Tensor) -> Tensor:
        """Mean squared error (Eq. 5), weighted by each image's class whether its label dropped."""
        error = (eps_theta.float() - eps).square()
        if self.config.class_weights == "none":
            return error.mean()
        return (self.class_weights[labels] * error.flatten(1).mean(1)).mean()


def class_weights(class_counts: Tensor) -> Tensor:
    """Return w_c ~ 1 / n_c with mean 1 over the training images, float32 (C,); Section 5.6.

    Classes without images get 0.
    """
    counts = class_counts.double()
    num_present = (counts > 0).sum()
    return torch.where(counts > 0, counts.sum() / (num_present * counts), 0).float()
