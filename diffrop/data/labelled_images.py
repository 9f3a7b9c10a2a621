"""Images in memory with their labels."""

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 (N, C, H, W), labels int64 (N,) and the names of the classes."""

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What was left out when they were read, a sentence each."""

    @property
    def class_counts(self) -> list[int]:
        """Images per class, in label order."""
        return torch.bincount(self.labels, minlength=len(self.class_names)).tolist()

    @property
    def digest(self) -> str:
        """SHA-256 of shape, pixels and labels."""
        sha = hashlib.sha256(str(tuple(self.images.shape)).encode())
        sha.update(self.images.contiguous().numpy().data)
        sha.update(self.labels.contiguous().numpy().data)
        return sha.hexdigest()

    def subset(self, indices: Tensor) -> "LabelledImages":
        """Return the images at `indices` (int64)."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])
