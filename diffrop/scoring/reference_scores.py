"""What a FID means on a dataset: that of noise, and of real images against other real ones."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from diffrop.activity import Tell, untold
from diffrop.config import EvaluationConfig
from diffrop.data import Dataset
from diffrop.diffusion.sampling import to_uint8
from diffrop.metrics.features import Extraction, FeatureExtractor
from diffrop.metrics.reference import Reference
from diffrop.metrics.report import balanced_labels, evaluate
from diffrop.scoring.samples import FID_ALONE
from diffrop.seeds import REFERENCE_SCORES, generator


def measure_reference_scores(
    dataset: Dataset,
    extractor: FeatureExtractor,
    reference: Reference,
    evaluation: EvaluationConfig,
    device: torch.device,
    tell: Tell = untold,
) -> dict[str, Any]:
    """Score noise, and real images, as samples are scored.

    Noise is what an untrained network denoises to: standard normal pixels, clipped. Real images
    are as many of the reference as N, half of it at most, against the rest of it.

    Args:
        dataset: with the reference images.
        extractor: of the features.
        reference: of the data set, with the same extractor.
        evaluation: N and seed.
        device: for the extractor.
        tell: is told how far it is.

    Returns:
        {"noise": ..., "real": ...}, each a ShotReport as plain data, real with a "note".
    """
    num, seed = evaluation.num_samples, evaluation.seed
    rng = generator("cpu", seed, REFERENCE_SCORES)
    noise = to_uint8(torch.randn(num, *dataset.image_shape, generator=rng).clamp(-1, 1))
    score = partial(evaluate, metrics=FID_ALONE, details=False)
    labels = balanced_labels(num, dataset.num_classes)
    of_noise = extractor.extract_told(noise.to(device), "noise, for scale", tell)
    tell("scores of noise and of real images, for scale", None)
    noise_report = score(of_noise, labels, reference, sampler="standard normal pixels")
    features, real_labels = reference.features, reference.labels
    total = len(real_labels)
    taken = min(num, total // 2) if num > total * 3 // 4 else num
    order = _in_proportion(real_labels, rng)
    part, rest = order[:taken], order[taken:]
    other = Reference.fit(features[rest], real_labels[rest], dataset.shot_groups)
    real = Extraction(extractor.name, features[part])
    real_report = score(real, real_labels[part], other, sampler="real images")
    note = f"{taken:,} real images against the other {total - taken:,}"
    return {"noise": noise_report.to_dict(), "real": {**real_report.to_dict(), "note": note}}


def fid_lines(
    scores: Mapping[str, float],
    num_samples: Mapping[str, int],
    reference_scores: Mapping[str, Any],
) -> list[str]:
    """Return the FID of each group in a line, beside those of real images and noise.

    Args:
        scores: by `metric/group`.
        num_samples: by group.
        reference_scores: as `measure_reference_scores` gives them.
    """
    lines = []
    for group, count in num_samples.items():
        name = f"fid/{group}"
        real, noise = (reference_scores[kind]["scores"].get(name) for kind in ("real", "noise"))
        beside = f" (real images {real:.2f}, noise {noise:.2f})" if real and noise else ""
        lines.append(f"{name} {scores[name]:.2f} at N = {count:,}{beside}")
    return lines


def _in_proportion(labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Return all rows in a random order whose prefixes hold each class in its proportion."""
    order = torch.randperm(len(labels), generator=rng)
    places = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique().tolist():
        rows = order[labels[order] == label]
        places[rows] = (torch.arange(len(rows)).double() + 0.5) / len(rows)
    return places.argsort(stable=True)
