"""What a FID means on a dataset: that of noise, and of real images against other real ones."""

from typing import Any

import torch

from diffrop.config import EvaluationConfig
from diffrop.data import Dataset
from diffrop.diffusion.sampling import to_uint8
from diffrop.metrics.features import FeatureExtractor
from diffrop.metrics.report import Reference, balanced_labels, shot_report
from diffrop.seeds import ANCHORS, generator


def measure_anchors(
    dataset: Dataset,
    extractor: FeatureExtractor,
    features: torch.Tensor,
    reference: Reference,
    evaluation: EvaluationConfig,
    device: torch.device,
) -> dict[str, Any]:
    """Score noise, and real images, as samples are scored.

    Noise is what an untrained network denoises to: standard normal pixels, clipped. Real images
    are as many of the reference as N, half of it at most, against the rest of it.

    Args:
        dataset: with the reference images.
        extractor: of the features.
        features: of the reference images (N_ref, D).
        reference: fits of those features.
        evaluation: N and seed.
        device: for the extractor.

    Returns:
        {"noise": ..., "real": ...}, each a ShotReport as plain data, real with a "note".
    """
    num, seed = evaluation.num_samples, evaluation.seed
    rng = generator("cpu", seed, ANCHORS)
    noise = to_uint8(torch.randn(num, *dataset.image_shape, generator=rng).clamp(-1, 1))
    noise_features = extractor.features(noise.to(device))
    labels = balanced_labels(num, dataset.num_classes)
    noise_report = shot_report(
        noise_features, labels, reference, extractor.predictions(noise_features)
    )
    real_labels = dataset.reference.labels
    total = len(real_labels)
    taken = min(num, total // 2) if num > total * 3 // 4 else num
    order = torch.randperm(total, generator=rng)
    part, rest = order[:taken], order[taken:]
    other = Reference.fit(features[rest], real_labels[rest], dataset.shot_groups)
    real_report = shot_report(
        features[part], real_labels[part], other, extractor.predictions(features[part])
    )
    note = f"{taken:,} real images against the other {total - taken:,}"
    return {"noise": noise_report.to_dict(), "real": {**real_report.to_dict(), "note": note}}
