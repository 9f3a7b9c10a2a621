"""Features that are made for tests: correlated, in classes, reproducible."""

import torch
from torch import Tensor

from diffrop.metrics.report import balanced_labels


def gaussian(count: int, dim: int, seed: int, shift: float = 0.0) -> Tensor:
    """Correlated normal features, float64 (count, dim); the seed draws the correlation too."""
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=rng, dtype=torch.float64)
    return torch.randn(count, dim, generator=rng, dtype=torch.float64) @ mixing + shift


def in_classes(count: int, seed: int, num_classes: int = 7, dim: int = 5) -> tuple[Tensor, Tensor]:
    """Features (count, dim) that lie about their label, and labels 0, 1, ..., 0, 1, ..."""
    rng = torch.Generator().manual_seed(seed)
    labels = balanced_labels(count, num_classes)
    return torch.randn(count, dim, generator=rng) + labels[:, None].float(), labels
