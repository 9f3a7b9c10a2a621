"""The per-shot report: FID over all classes and over many-, medium- and few-shot classes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffrop.errors import NonFiniteError
from diffrop.metrics.frechet import GaussianStatistics, frechet_distance, gaussian_statistics


@dataclass(frozen=True)
class Reference:
    """What samples are compared with: Gaussian fits of the reference images, per group."""

    groups: Mapping[str, Sequence[int]]
    """Labels of "all" and of each shot group."""
    statistics: Mapping[str, GaussianStatistics]
    """Per group; every class has the same mass, whatever its number of images."""

    @classmethod
    def fit(
        cls, features: Tensor, labels: Tensor, shot_groups: Mapping[str, Sequence[int]]
    ) -> "Reference":
        """Fit to reference features (N, D) with labels (N,).

        Equal masses make the fit of a nearly balanced set match class-balanced samples; for an
        exactly balanced set it is the ordinary mean and covariance.
        """
        groups = {"all": sorted(set(labels.tolist())), **shot_groups}
        statistics = {}
        for name, classes in groups.items():
            inside = torch.isin(labels, torch.tensor(classes))
            counts = torch.bincount(labels[inside]).double()
            weights = 1 / (len(classes) * counts[labels[inside]])
            statistics[name] = gaussian_statistics(features[inside], weights)
        return cls(groups, statistics)


@dataclass(frozen=True)
class ShotReport:
    """Scores of one set of samples."""

    scores: Mapping[str, float]
    """`fid/GROUP`: against the group's own reference images; `fid_full/GROUP`: against those of
    all classes; `accuracy/GROUP`: share of samples that a classifier gives the asked label."""
    num_samples: Mapping[str, int]
    """Images behind each group's scores; equal over the shot groups. FIDs at different N are not
    comparable."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"scores": dict(self.scores), "num_samples": dict(self.num_samples)}


def balanced_labels(num_samples: int, num_classes: int) -> Tensor:
    """Return labels 0, 1, ..., C-1, 0, 1, ... (N,), so that every prefix is balanced."""
    return torch.arange(num_samples) % num_classes


def shot_report(
    features: Tensor, labels: Tensor, reference: Reference, predictions: Tensor | None = None
) -> ShotReport:
    """Score samples.

    The shot groups take equal numbers of samples, as many as the smallest has, spread over their
    classes, because FID depends on N. A group with fewer than two samples is left out.

    Args:
        features: of the samples (N, D).
        labels: that were asked for (N,).
        reference: fits of the reference images.
        predictions: labels that a classifier gives the samples (N,), if there is one.

    Raises:
        NonFiniteError: a score is not finite, as when features are constant or NaN.
    """
    in_order = {name: _spread(labels, classes) for name, classes in reference.groups.items()}
    shots = [len(rows) for name, rows in in_order.items() if name != "all"]
    scores: dict[str, float] = {}
    counts: dict[str, int] = {}
    for name, rows in in_order.items():
        rows = rows if name == "all" else rows[: min(shots)]
        if len(rows) < 2:
            continue
        counts[name] = len(rows)
        try:
            fit = gaussian_statistics(features[rows])
        except ValueError as error:
            raise NonFiniteError(f"fid/{name} cannot be computed: {error}") from error
        scores[f"fid/{name}"] = frechet_distance(fit, reference.statistics[name])
        if name != "all":
            scores[f"fid_full/{name}"] = frechet_distance(fit, reference.statistics["all"])
        if predictions is not None:
            right = predictions[rows] == labels[rows]
            scores[f"accuracy/{name}"] = float(right.double().mean())
    bad = [name for name, value in scores.items() if not math.isfinite(value)]
    if bad:
        raise NonFiniteError(f"{bad[0]} is not finite")
    return ShotReport(scores, counts)


def _spread(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """Rows of `classes`, first of each class before second of each, so that prefixes balance."""
    rows, turns = [], []
    for label in classes:
        found = (labels == label).nonzero().flatten()
        rows.append(found)
        turns.append(torch.arange(len(found)))
    order = torch.cat(turns).argsort(stable=True)
    return torch.cat(rows)[order]
