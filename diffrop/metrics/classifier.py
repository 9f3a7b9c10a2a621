"""A small classifier of a data set's own classes, as its feature extractor."""

import hashlib
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffrop.activity import Tell, counted, untold
from diffrop.checkpoint_file import Checkpoint, read_cache, write_checkpoint
from diffrop.data import LabelledImages
from diffrop.diffusion.sampling import from_uint8
from diffrop.seeds import CLASSIFIER, derive_seed, generator

NUM_FEATURES = 64
NUM_IMAGES = 60_000
BATCH_SIZE = 128


class Classifier(nn.Module):
    """Two convolutions and two layers; features (B, 64) are those before the last."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        """Draw its weights, always the same ones."""
        super().__init__()
        channels, height, width = image_shape
        torch.manual_seed(derive_seed(0, CLASSIFIER))
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * (-(-height // 2)) * (-(-width // 2)), NUM_FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(NUM_FEATURES, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 images (B, C, H, W) to features (B, 64) and logits (B, classes)."""
        return self.from_pixels(from_uint8(images))

    def from_pixels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map pixels in [-1, 1] to features and logits."""
        features = self.layers(x)
        return features, self.head(features)


def trained_classifier(reference: LabelledImages, cache: Path, tell: Tell = untold) -> Classifier:
    """Train on `reference`, or read what an earlier call with the same images trained.

    For sets on which an ImageNet network says little (digits). Its distances are comparable
    among runs on the same set only.
    """
    key = f"{reference.digest} {NUM_FEATURES} {NUM_IMAGES} {BATCH_SIZE} 2"
    path = cache / f"classifier-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
    channels, height, width = reference.images.shape[1:]

    def untrained() -> Classifier:
        return Classifier((channels, height, width), len(reference.class_names))

    def stored(cache: Checkpoint) -> Classifier:
        network = untrained()  # one of its own: what does not fit is loaded in part
        network.load_state_dict(cache.tensors)
        return network

    known = read_cache(path, stored)
    if known is not None:
        return known
    network = untrained()
    _fit(network, reference, tell)
    write_checkpoint(path, Checkpoint(network.state_dict(), {"digest": reference.digest}))
    return network


def _fit(network: Classifier, reference: LabelledImages, tell: Tell) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    rng = generator("cpu", 0, CLASSIFIER)
    steps = NUM_IMAGES // BATCH_SIZE
    look = counted(tell, "training the classifier whose features are scored", steps)
    for step in range(steps):
        look()
        picked = torch.randint(len(reference.labels), (BATCH_SIZE,), generator=rng)
        x = from_uint8(reference.images[picked])
        x = x + 0.1 * torch.randn(x.shape, generator=rng)
        loss = F.cross_entropy(network.from_pixels(x)[1], reference.labels[picked])
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
