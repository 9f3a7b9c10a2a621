"""Every score of one group of classes, each by a function in `SCORERS`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from diffrop.config import Metric
from diffrop.metrics.fid_at_infinity import fid_infinity
from diffrop.metrics.frechet import GaussianStatistics, frechet_distance, gaussian_statistics
from diffrop.metrics.inception import inception_score_estimate
from diffrop.metrics.intervals import Estimate, fid_estimate
from diffrop.metrics.kernel import kernel_estimate
from diffrop.metrics.neighbours import memorisation, precision_recall
from diffrop.metrics.prd import CLUSTERS_PER_CLASS, prd_f_beta
from diffrop.metrics.protocol import NEIGHBOURS
from diffrop.metrics.reference import LabelledFeatures

METRICS: tuple[Metric, ...] = get_args(Metric)
CLASS_METRICS: tuple[Metric, ...] = ("fid", "kid", "precision_recall")
"""The metrics of a single class. The others are about several classes, or need more images than
one has."""
NUM_SPLITS = 10


@dataclass(frozen=True)
class Group:
    """Samples of some classes, and what they are compared with."""

    classes: Sequence[int]
    features: Tensor
    """(N, D)."""
    labels: Tensor
    """Asked for, (N,)."""
    logits: Tensor | None
    """(N, classes of the extractor)."""
    predictions: Tensor | None
    """Labels that a classifier gives the samples (N,)."""
    statistics: GaussianStatistics | None
    """The fit of the classes' reference images; None where only that of all classes is known."""
    full_statistics: GaussianStatistics | None
    """The fit of all reference images; None if these are the same."""
    reference: Tensor
    """Features of reference images with equally many of each class, N at most."""
    training: LabelledFeatures | None
    """Of all classes."""
    heldout: LabelledFeatures | None
    """Of all classes."""
    intervals: bool


def fid(group: Group) -> Mapping[str, Estimate]:
    """FID against the group's own reference images, and against those of all classes."""
    known = {"fid": group.statistics, "fid_full": group.full_statistics}
    against = {name: fit for name, fit in known.items() if fit is not None}
    if group.intervals:
        return {name: fid_estimate(group.features, other) for name, other in against.items()}
    fit = gaussian_statistics(group.features)
    return {name: Estimate(frechet_distance(fit, other)) for name, other in against.items()}


def kid(group: Group) -> Mapping[str, Estimate]:
    """KID; unbiased, and so the score to read where a group has few images."""
    if len(group.reference) < 2:
        return {}
    return {"kid": kernel_estimate(group.features, group.reference)}


def inception_score(group: Group) -> Mapping[str, Estimate]:
    """The Inception Score of ten splits, of extractors with classes."""
    if group.logits is None or len(group.logits) < 2 * NUM_SPLITS:
        return {}
    return {"inception_score": inception_score_estimate(group.logits)}


def precision_and_recall(group: Group) -> Mapping[str, Estimate]:
    """Improved precision and recall, k = 5."""
    if min(len(group.features), len(group.reference)) <= NEIGHBOURS:
        return {}
    found = precision_recall(group.features, group.reference, NEIGHBOURS)
    return {"precision": Estimate(found.precision), "recall": Estimate(found.recall)}


def prd(group: Group) -> Mapping[str, Estimate]:
    """Sajjadi's F_8 and F_1/8, from equal numbers of samples and reference images."""
    count = len(group.reference)
    clusters = CLUSTERS_PER_CLASS * len(group.classes)
    if count < clusters:
        return {}
    found = prd_f_beta(group.features[:count], group.reference, num_clusters=clusters)
    return {"f_8": Estimate(found.f_8), "f_1_8": Estimate(found.f_1_8)}


def fid_at_infinity(group: Group) -> Mapping[str, Estimate]:
    """FID extrapolated to infinitely many samples, from subsets of D images and more."""
    count, dim = group.features.shape
    if count < 2 * dim or group.statistics is None:
        return {}
    found = fid_infinity(group.features, group.statistics, smallest_share=max(0.1, dim / count))
    return {"fid_infinity": Estimate(found.value)}


def memorised(group: Group) -> Mapping[str, Estimate]:
    """Whether samples lie nearer to training images than held-out ones do, within classes."""
    if group.training is None or group.heldout is None:
        return {}
    training, _ = _of_classes(group.training, group.classes)
    heldout, heldout_labels = _of_classes(group.heldout, group.classes)
    if not len(training) or not len(heldout):
        return {}
    found = memorisation(group.features, training, heldout, group.labels, heldout_labels)
    return {"memorisation": Estimate(found.closer), "memorisation_z": Estimate(found.z)}


def _of_classes(images: LabelledFeatures, classes: Sequence[int]) -> LabelledFeatures:
    features, labels = images
    inside = torch.isin(labels, torch.tensor(classes))
    return features[inside], labels[inside]


def accuracy(group: Group) -> Mapping[str, Estimate]:
    """Share of samples that a classifier gives the asked label."""
    if group.predictions is None:
        return {}
    right = (group.predictions == group.labels).double()
    return {"accuracy": Estimate(float(right.mean()), right, least=0, most=1)}


SCORERS: dict[Metric, Callable[[Group], Mapping[str, Estimate]]] = {
    "fid": fid,
    "kid": kid,
    "inception_score": inception_score,
    "precision_recall": precision_and_recall,
    "prd": prd,
    "fid_infinity": fid_at_infinity,
    "memorisation": memorised,
}
