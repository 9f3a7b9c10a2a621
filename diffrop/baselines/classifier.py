"""The long-tail classifier: a ResNet-32, its training, and its scores on held-out images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffrop.activity import Tell, counted, untold
from diffrop.baselines.classifier_config import ClassifierConfig
from diffrop.baselines.resnet import ResNet32
from diffrop.data import LabelledImages
from diffrop.data.batches import ImageOrder
from diffrop.diffusion.sampling import from_uint8
from diffrop.errors import NonFiniteError
from diffrop.seeds import CLASSIFIER, derive_seed, generator

MOMENTUM = 0.9
EFFECTIVE_NUMBER_BETA = 0.9999
DEFERRED_SHARE = 0.8
"""Share of the training after which deferred re-weighting sets in (epoch 160 of 200)."""
EVALUATION_BATCH = 500


def class_weights(class_counts: list[int]) -> Tensor:
    """Return weights (C,) that fall with the effective number of images, with mean 1.

    (1 - beta) / (1 - beta^n_c), Cui et al. (2019), Eq. 4; classes without images weigh 0.
    """
    counts = torch.tensor(class_counts, dtype=torch.float64)
    weights = torch.where(counts > 0, 1 / (1 - EFFECTIVE_NUMBER_BETA ** counts.clamp(min=1)), 0)
    return (weights / weights.mean()).float()


def train_classifier(
    config: ClassifierConfig, data: LabelledImages, device: torch.device, tell: Tell = untold
) -> ResNet32:
    """Train a ResNet-32 by SGD on cross-entropy; returns it frozen, in evaluation mode.

    With `deferred_reweighting` as in Cao et al. (2019), Algorithm 1, with cross-entropy in place
    of their margin loss. How far it is, is told at every step.

    Raises:
        NonFiniteError: the loss became NaN or infinite.
    """
    torch.manual_seed(derive_seed(config.seed, CLASSIFIER))
    network = ResNet32(data.images.shape[1], len(data.class_names)).to(device)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=config.learning_rate,
        momentum=MOMENTUM,
        weight_decay=config.weight_decay,
        nesterov=True,
    )
    steps = -(-config.num_images // config.batch_size)
    warmup = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 1 / warmup, total_iters=warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - warmup)),
        ],
        [warmup],
    )
    images, labels = data.images.to(device), data.labels.to(device)
    weights = class_weights(data.class_counts).to(device)
    order = ImageOrder(data.labels, "natural", config.seed)
    rng = generator("cpu", config.seed, CLASSIFIER)
    look = counted(tell, f"training a classifier on {len(data.labels):,} images", steps)
    for step in range(steps):
        look()
        picked = order.indices(step * config.batch_size, config.batch_size).to(device)
        x = augmented(from_uint8(images[picked]), config, rng)
        late = config.deferred_reweighting and step >= DEFERRED_SHARE * steps
        loss = F.cross_entropy(network(x), labels[picked], weights if late else None)
        if not torch.isfinite(loss):
            raise NonFiniteError(f"the classifier's loss is not finite at step {step}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    optimizer.zero_grad(set_to_none=True)
    return network.eval().requires_grad_(False)


def augmented(x: Tensor, config: ClassifierConfig, rng: torch.Generator) -> Tensor:
    """Return images (B, C, H, W) cropped at random after padding, and mirrored half the time."""
    batch, _, height, width = x.shape
    pad = config.crop_padding
    if pad:
        padded = F.pad(x, (pad, pad, pad, pad), value=-1)  # black
        top, left = torch.randint(2 * pad + 1, (2, batch, 1), generator=rng).to(x.device)
        rows = top + torch.arange(height, device=x.device)
        columns = left + torch.arange(width, device=x.device)
        index = torch.arange(batch, device=x.device).view(-1, 1, 1)
        x = padded.permute(0, 2, 3, 1)[index, rows.unsqueeze(2), columns.unsqueeze(1)]
        x = x.permute(0, 3, 1, 2)
    if config.horizontal_flip:
        mirrored = (torch.rand(batch, generator=rng) < 0.5).to(x.device)
        x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(-1), x)
    return x


@torch.no_grad()
def predicted_labels(network: nn.Module, images: Tensor, tell: Tell = untold) -> Tensor:
    """Return the most probable label (N,), int64 on the CPU, of uint8 images (N, C, H, W).

    How far it is, is told of every batch.
    """
    device, found = next(network.parameters()).device, []
    parts = images.split(EVALUATION_BATCH)
    look = counted(tell, f"classifying {len(images):,} images", len(parts))
    for part in parts:
        look()
        found.append(network(from_uint8(part.to(device))).argmax(1).cpu())
    return torch.cat(found)
