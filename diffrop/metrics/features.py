"""What scores are made of: features, logits and predictions of images, in one pass."""

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffrop.activity import Tell, counted, untold
from diffrop.checkpoint_file import Checkpoint, read_cache, write_checkpoint
from diffrop.config import ExtractorPrecision
from diffrop.data import LabelledImages

PROBES = 8
"""Images whose features are computed again to check a cache."""


@dataclass(frozen=True)
class Extraction:
    """What an extractor says of N images; all on the CPU."""

    extractor: str
    features: Tensor
    """(N, D), float32."""
    logits: Tensor | None = None
    """(N, classes of the extractor), float32, if it is a classifier."""
    predictions: Tensor | None = None
    """Predicted labels (N,), if its classes are those of the data set."""

    def rows(self, rows: Tensor) -> "Extraction":
        """Return the images at `rows` (int64)."""
        logits, predictions = self.logits, self.predictions
        return Extraction(
            self.extractor,
            self.features[rows],
            None if logits is None else logits[rows],
            None if predictions is None else predictions[rows],
        )


class FeatureExtractor:
    """A frozen network whose `name` stands beside every score.

    The network maps uint8 images (B, C, H, W) on any device to features (B, D), or to features
    and logits; whatever it does to the images first is its own part.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        *,
        knows_labels: bool = False,
        batch_size: int = 100,
        precision: ExtractorPrecision = "fp32",
    ) -> None:
        """Freeze the network, which follows its images from device to device.

        Args:
            network: as above.
            name: precisions other than fp32 become part of it, for scores shift with them.
            knows_labels: its classes are the labels of the data set.
            batch_size: images at a time.
            precision: fp32 is strict; tf32 is for CUDA's products; bf16 autocasts.
        """
        self.network = network.eval().requires_grad_(False)
        self.name = name if precision == "fp32" else f"{name}-{precision}"
        self.knows_labels, self.batch_size, self.precision = knows_labels, batch_size, precision

    @torch.no_grad()
    def extract(self, images: Tensor, look: Callable[[], object] = lambda: None) -> Extraction:
        """Return features, logits and predictions of uint8 images (N, C, H, W), on the CPU.

        `look` is called before every batch; it may raise to give them up.
        """
        self.network.to(images.device)
        if images.is_cuda:
            self.network.to(memory_format=torch.channels_last)
        features, logits = [], []
        with _precision(self.precision, images.device):
            for part in images.split(self.batch_size):
                look()
                found = self.network(part)
                own, classes = found if isinstance(found, tuple) else (found, None)
                features.append(own.float().cpu())
                if classes is not None:
                    logits.append(classes.float().cpu())
        known = torch.cat(logits) if logits else None
        predictions = known.argmax(dim=1) if known is not None and self.knows_labels else None
        return Extraction(self.name, torch.cat(features), known, predictions)

    def extract_told(self, images: Tensor, what: str, tell: Tell) -> Extraction:
        """Return what `extract` does, and tell of every batch how far that is.

        Args:
            images: uint8 (N, C, H, W).
            what: they are, in words.
            tell: is told.
        """
        num_batches = math.ceil(len(images) / self.batch_size)
        return self.extract(images, counted(tell, f"features of {what}", num_batches))

    @property
    def fingerprint(self) -> str:
        """Digest of the name and of every weight."""
        sha = hashlib.sha256(self.name.encode())
        for key, value in self.network.state_dict().items():
            sha.update(key.encode())
            sha.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return sha.hexdigest()


def cached_features(
    extractor: FeatureExtractor,
    images: LabelledImages,
    cache: Path,
    device: torch.device,
    tell: Tell = untold,
) -> Tensor:
    """Return the features (N, D) of a data set's images; computed once.

    The cache is keyed by the contents of images and weights. A change of the network's code shows
    in neither: so the first images are always computed again, and on another answer all are.
    """
    key = hashlib.sha256(f"{extractor.fingerprint} {images.digest}".encode()).hexdigest()[:16]
    path = cache / f"features-{key}.safetensors"

    def stored(cache: Checkpoint) -> Tensor:
        found = cache.tensors["features"]
        if found.dim() != 2 or len(found) != len(images.images):
            raise ValueError(f"features of shape {tuple(found.shape)}")
        return found

    known = read_cache(path, stored)
    if known is not None:
        fresh = extractor.extract(images.images[:PROBES].to(device)).features
        near = 1e-2 * float(fresh.abs().mean())
        same = known.shape[1] == fresh.shape[1]
        if same and torch.allclose(known[:PROBES], fresh, rtol=1e-2, atol=near):
            return known
    what = f"{len(images.images):,} real images"
    features = extractor.extract_told(images.images.to(device), what, tell).features
    write_checkpoint(path, Checkpoint({"features": features}, {"extractor": extractor.name}))
    return features


@contextlib.contextmanager
def _precision(precision: ExtractorPrecision, device: torch.device) -> Iterator[None]:
    """Set the precision of products for the time of a pass."""
    flags: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [flag.allow_tf32 for flag in flags]
    for flag in flags:
        flag.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        for flag, value in zip(flags, before, strict=True):
            flag.allow_tf32 = value
