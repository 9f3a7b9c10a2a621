"""The long-tail classifier: a ResNet-32, its training, and its scores on held-out images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffrop.baselines.resnet import ResNet32
from diffrop.data import LabelledImages
from diffrop.data.batches import ImageOrder
from diffrop.diffusion.sampling import from_uint8
from diffrop.errors import NonFiniteError
from diffrop.schema import Config, require
from diffrop.seeds import CLASSIFIER, derive_seed, generator

MOMENTUM = 0.9
EFFECTIVE_NUMBER_BETA = 0.9999
DEFERRED_SHARE = 0.8
"""Share of the training after which deferred re-weighting sets in (epoch 160 of 200)."""
EVALUATION_BATCH = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierConfig(Config):
    """How a classifier is trained; the defaults suit 32x32 images (200 epochs of 50,000)."""

    num_images: int = 10_000_000
    """Images seen; the same for every training set that is compared."""
    batch_size: int = 128
    learning_rate: float = 0.1
    """Peak rate of SGD, which rises over the first 5 % of the images, then falls to 0 along a
    cosine."""
    weight_decay: float = 2e-4
    crop_padding: int = 4
    """Zero pixels around an image, of which a crop of its own size is taken at random."""
    horizontal_flip: bool = True
    deferred_reweighting: bool = False
    """Weigh classes by the inverse effective number of images in the last fifth (DRW)."""
    seed: int = 0

    def check(self) -> None:
        """Refuse lengths and rates that make no training."""
        for name in ("num_images", "batch_size", "learning_rate"):
            require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        for name in ("weight_decay", "crop_padding"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(0 <= self.seed < 2**31, "seed", self.seed, "0 to 2^31 - 1")


def classifier_recipe(dataset: str) -> ClassifierConfig:
    """Return the training that suits a dataset of `diffrop.data.DATASETS`."""
    match dataset:
        case "digits":
            return ClassifierConfig(num_images=19_200, crop_padding=1, horizontal_flip=False)
        case "fashion_mnist":
            return ClassifierConfig(num_images=6_000_000, crop_padding=2)
    return ClassifierConfig()


def class_weights(class_counts: list[int]) -> Tensor:
    """Return weights (C,) that fall with the effective number of images, with mean 1.

    (1 - beta) / (1 - beta^n_c), Cui et al. (2019), Eq. 4; classes without images weigh 0.
    """
    counts = torch.tensor(class_counts, dtype=torch.float64)
    weights = torch.where(counts > 0, 1 / (1 - EFFECTIVE_NUMBER_BETA ** counts.clamp(min=1)), 0)
    return (weights / weights.mean()).float()


def train_classifier(
    config: ClassifierConfig, data: LabelledImages, device: torch.device
) -> ResNet32:
    """Train a ResNet-32 by SGD on cross-entropy; returns it frozen, in evaluation mode.

    With `deferred_reweighting` as in Cao et al. (2019), Algorithm 1, with cross-entropy in place
    of their margin loss.

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
    for step in range(steps):
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
def predicted_labels(network: nn.Module, images: Tensor) -> Tensor:
    """Return the most probable label (N,), int64 on the CPU, of uint8 images (N, C, H, W)."""
    device = next(network.parameters()).device
    parts = images.split(EVALUATION_BATCH)
    return torch.cat([network(from_uint8(x.to(device))).argmax(1).cpu() for x in parts])
