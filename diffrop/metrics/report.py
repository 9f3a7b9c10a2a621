"""The per-shot report: every score for all classes, each shot group and each class.

Scores are named `metric/group`, the group one of all, many, medium, few, or class_0, class_1, ...;
docs/metrics.md defines each metric.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffrop.config import Metric
from diffrop.errors import NonFiniteError
from diffrop.metrics.checks import check_features
from diffrop.metrics.features import Extraction
from diffrop.metrics.frechet import gaussian_statistics
from diffrop.metrics.interval import Interval
from diffrop.metrics.intervals import Estimate
from diffrop.metrics.protocol import Protocol
from diffrop.metrics.reference import Reference
from diffrop.metrics.scores import CLASS_METRICS, METRICS, SCORERS, Group, accuracy

MIN_CLASS_IMAGES = 100
"""Samples, and reference images, that a class needs to be scored by itself."""


@dataclass(frozen=True)
class ShotReport:
    """Scores of one set of samples."""

    protocol: Protocol
    scores: Mapping[str, float]
    """Scores by `metric/group`: `fid/GROUP` is against the group's own reference images,
    `fid_full/GROUP` against those of all classes; `accuracy/GROUP` is the share of samples that a
    classifier gives the asked label."""
    intervals: Mapping[str, Interval]
    """95 % intervals over samples, of the scores of groups and classes that have one."""
    class_scores: Mapping[str, float]
    """Scores by `metric/class_LABEL`."""
    num_samples: Mapping[str, int]
    """Images behind each group's scores; equal over the shot groups."""
    num_reference: Mapping[str, int]
    """Reference images behind each group's scores, where that is known; metrics that compare
    images take equally many of each class, and no more than there are samples."""
    influence: Mapping[str, Tensor]
    """Each sample's influence on a group's score, where it is known, in the order of
    `group_rows`: for paired differences (`paired_interval`)."""
    labels: Mapping[str, Tensor]
    """Labels of each group's samples, in that order."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; what there is of each sample is left out."""
        return {
            "protocol": self.protocol.to_dict(),
            "scores": dict(self.scores),
            "intervals": {name: value.to_dict() for name, value in self.intervals.items()},
            "class_scores": dict(self.class_scores),
            "num_samples": dict(self.num_samples),
            "num_reference": dict(self.num_reference),
        }


def balanced_labels(num_samples: int, num_classes: int) -> Tensor:
    """Return labels 0, 1, ..., C-1, 0, 1, ... (N,), so that every prefix is balanced."""
    return torch.arange(num_samples) % num_classes


def group_rows(labels: Tensor, groups: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Return the rows of the samples that score each group; groups of fewer than two have none.

    All rows for "all". The shot groups take equal numbers, as many as the smallest has, spread
    over their classes, because FID depends on N.

    Args:
        labels: of the samples (N,).
        groups: labels of each group.
    """
    rows = {name: spread_rows(labels, classes) for name, classes in groups.items()}
    smallest = min((len(found) for name, found in rows.items() if name != "all"), default=0)
    kept = {name: found if name == "all" else found[:smallest] for name, found in rows.items()}
    return {name: found for name, found in kept.items() if len(found) >= 2}


def evaluate(
    samples: Extraction,
    labels: Tensor,
    reference: Reference,
    *,
    sampler: str,
    metrics: Collection[Metric] = METRICS,
    details: bool = True,
    look: Callable[[], object] = lambda: None,
) -> ShotReport:
    """Score samples from what an extractor said of them, in one pass.

    Args:
        samples: what the extractor said of N images.
        labels: that were asked for (N,).
        reference: made with the same extractor.
        sampler: sampler and steps, for the protocol.
        metrics: which to compute; accuracy is there wherever the extractor predicts labels. One
            that a group has too few images for is left out of that group.
        details: intervals, influence and the scores of single classes too.
        look: called before every metric of every group; may raise to give the scores up.

    Raises:
        NonFiniteError: features or a score are not finite.
    """
    try:
        check_features(samples.features, "features")
    except ValueError as error:
        raise NonFiniteError(f"no score can be computed: {error}") from error
    rows_of = group_rows(labels, reference.groups)
    estimates: dict[str, Estimate] = {}
    found: dict[str, Interval] = {}
    reference_counts: dict[str, int] = {}
    rows_of_classes = _class_rows(labels, reference) if details else {}
    for name, rows in (rows_of | rows_of_classes).items():
        group = _group(name, rows, samples, labels, reference, details)
        known = group.statistics or group.full_statistics
        if name in rows_of and known is not None and known.count is not None:
            reference_counts[name] = known.count
        asked = metrics if name in rows_of else set(metrics) & set(CLASS_METRICS)
        for score, estimate in _scores(group, asked, look).items():
            key = f"{score}/{name}"
            if not math.isfinite(estimate.value):
                raise NonFiniteError(f"{key} is not finite")
            estimates[key] = estimate
            if details and estimate.influence is not None:
                found[key] = estimate.interval(group.labels)
    values = {key: estimate.value for key, estimate in estimates.items()}
    return ShotReport(
        protocol=Protocol(samples.extractor, sampler, reference.name, len(labels)),
        scores={key: value for key, value in values.items() if key.split("/")[1] in rows_of},
        intervals=found,
        class_scores={key: v for key, v in values.items() if key.split("/")[1] not in rows_of},
        num_samples={name: len(rows) for name, rows in rows_of.items()},
        num_reference=reference_counts,
        influence={
            key: estimate.influence
            for key, estimate in estimates.items()
            if key in found and estimate.influence is not None and key.split("/")[1] in rows_of
        },
        labels={name: labels[rows] for name, rows in rows_of.items()},
    )


def _scores(
    group: Group, metrics: Collection[Metric], look: Callable[[], object]
) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    for metric, score in SCORERS.items():
        look()
        if metric in metrics:
            found.update(score(group))
    return {**found, **accuracy(group)}


def _group(
    name: str,
    rows: Tensor,
    samples: Extraction,
    labels: Tensor,
    reference: Reference,
    intervals: bool,
) -> Group:
    """Gather what scores one group, or a class by itself."""
    known = name in reference.groups
    classes = reference.groups[name] if known else [int(labels[rows[0]])]
    statistics = reference.statistics.get(name)
    if not known:
        statistics = gaussian_statistics(reference.features[reference.labels == classes[0]])
    part = samples.rows(rows)
    return Group(
        classes=classes,
        features=part.features,
        labels=labels[rows],
        logits=part.logits,
        predictions=part.predictions,
        statistics=statistics,
        full_statistics=reference.statistics["all"] if known and name != "all" else None,
        reference=reference.features[reference.rows(classes, len(rows))],
        training=reference.training,
        heldout=reference.heldout,
        intervals=intervals,
    )


def _class_rows(labels: Tensor, reference: Reference) -> dict[str, Tensor]:
    """Return the rows of each class that has images enough to be scored by itself."""
    classes = reference.groups["all"]
    rows = {label: (labels == label).nonzero().flatten() for label in classes}
    num_reference = torch.bincount(reference.labels, minlength=max(classes) + 1)
    return {
        f"class_{label}": found
        for label, found in rows.items()
        if min(len(found), int(num_reference[label])) >= MIN_CLASS_IMAGES and len(classes) > 1
    }


def spread_rows(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """Return the rows of `classes`, the first of each before the second of each, and so on.

    So that prefixes balance as far as the labels (N,) do.
    """
    rows, turns = [], []
    for label in classes:
        found = (labels == label).nonzero().flatten()
        rows.append(found)
        turns.append(torch.arange(len(found)))
    order = torch.cat(turns).argsort(stable=True)
    return torch.cat(rows)[order]
