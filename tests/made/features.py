"""Features that are made for tests: correlated, in classes, reproducible."""

from pathlib import Path

import torch
from torch import Tensor

from diffrop.config import EvaluationConfig
from diffrop.data import LabelledImages
from diffrop.metrics.extractors import make_extractor
from diffrop.metrics.features import Extraction, FeatureExtractor
from diffrop.metrics.reference import Reference
from diffrop.metrics.report import ShotReport, balanced_labels, evaluate

GROUPS = {"many": [0, 1], "medium": [2, 3, 4], "few": [5, 6]}
"""Shot groups of the seven classes of `in_classes`."""


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


def in_group(labels: Tensor, group: str) -> Tensor:
    """Whether each label is of a shot group."""
    return torch.isin(labels, torch.tensor(GROUPS[group]))


def fitted(count: int = 700, **known: tuple[Tensor, Tensor]) -> Reference:
    """A reference of seven classes; `known` as in `Reference.fit`."""
    return Reference.fit(*in_classes(count, 1), GROUPS, **known)


def report(x: Tensor, labels: Tensor, reference: Reference, **options: object) -> ShotReport:
    """The scores of features; options as for `Extraction` and `evaluate`."""
    samples = Extraction("made", x, options.pop("logits", None), options.pop("predictions", None))  # type: ignore[arg-type]
    return evaluate(samples, labels, reference, sampler="ddim-2", **options)  # type: ignore[arg-type]


def classifier_extractor(images: LabelledImages, cache: Path) -> FeatureExtractor:
    """The classifier of a set's own classes, trained once in a cache."""
    return make_extractor(EvaluationConfig(extractor="classifier"), images, "digits", cache)
