"""What samples are compared with: features of real images, fitted per shot group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffrop.metrics.frechet import GaussianStatistics, gaussian_statistics
from diffrop.seeds import REFERENCE, generator

LabelledFeatures = tuple[Tensor, Tensor]
"""Features (N, D) and labels (N,)."""


@dataclass(frozen=True)
class Reference:
    """What samples are compared with."""

    name: str
    groups: Mapping[str, Sequence[int]]
    """Labels of "all" and of each shot group."""
    statistics: Mapping[str, GaussianStatistics]
    """The fit of each group; every class has the same mass, whatever its number of images. That of
    all classes alone, where their statistics are all that is known."""
    features: Tensor
    """Features of the reference images (N_ref, D); N_ref is 0 where there are statistics alone."""
    labels: Tensor
    """Labels of the reference images (N_ref,)."""
    training: LabelledFeatures | None = None
    """Features of the images that models are trained on, for memorisation."""
    heldout: LabelledFeatures | None = None
    """Features of images of the same distribution that no model sees."""

    @classmethod
    def fit(
        cls,
        features: Tensor,
        labels: Tensor,
        shot_groups: Mapping[str, Sequence[int]],
        name: str = "reference",
        training: LabelledFeatures | None = None,
        heldout: LabelledFeatures | None = None,
    ) -> "Reference":
        """Fit to reference features (N_ref, D) with labels (N_ref,).

        Equal masses make the fit of a nearly balanced set match class-balanced samples; for an
        exactly balanced set it is the ordinary mean and covariance. The groups are those of
        `fitted_groups`.

        Args:
            features: of the reference images.
            labels: int64.
            shot_groups: labels of each group.
            name: stands beside every score; says so if the classes are weighted.
            training: features and labels of the training images.
            heldout: features and labels of images that are not among them.
        """
        groups, statistics = fitted_groups(labels, shot_groups), {}
        for group, classes in groups.items():
            inside = torch.isin(labels, torch.tensor(classes))
            counts = torch.bincount(labels[inside]).double()
            weights = 1 / (len(classes) * counts[labels[inside]])
            statistics[group] = gaussian_statistics(features[inside], weights)
        return cls(name, groups, statistics, features, labels, training, heldout)

    @classmethod
    def of_statistics(
        cls,
        statistics: GaussianStatistics,
        shot_groups: Mapping[str, Sequence[int]],
        num_classes: int,
        name: str,
    ) -> "Reference":
        """Return a reference of which the mean and covariance over all classes are known alone.

        Samples of a shot group are compared with all classes (`fid_full`), and metrics that
        compare images are left out.

        Args:
            statistics: of the reference images of all classes.
            shot_groups: labels of each group.
            num_classes: C.
            name: stands beside every score.
        """
        groups = {"all": range(num_classes), **shot_groups}
        features = torch.empty(0, len(statistics.mean))
        labels = torch.empty(0, dtype=torch.int64)
        return cls(name, groups, {"all": statistics}, features, labels)

    def rows(self, classes: Sequence[int], count: int) -> Tensor:
        """Return rows of `features` with equally many of each class, `count` of them at most.

        For metrics that compare images, not fits; random, and the same at every call.
        """
        order = torch.randperm(len(self.labels), generator=generator("cpu", 0, REFERENCE))
        return order[balanced_rows(self.labels[order], classes)][:count]


def fitted_groups(
    labels: Tensor, shot_groups: Mapping[str, Sequence[int]]
) -> dict[str, Sequence[int]]:
    """Return the groups that reference images with these labels can be fitted to, "all" first.

    Classes without an image are left out of their groups, and so is a group of fewer than two
    images, which has no covariance.

    Args:
        labels: of the reference images (N_ref,).
        shot_groups: labels of each group.
    """
    counts = torch.bincount(labels).tolist()
    present = [label for label, count in enumerate(counts) if count]
    groups = {
        group: [label for label in asked if label in present]
        for group, asked in {"all": present, **shot_groups}.items()
    }
    return {
        group: classes
        for group, classes in groups.items()
        if sum(counts[label] for label in classes) >= 2
    }


def balanced_rows(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """Return rows of `classes`: the first of each class, then the second of each, and so on.

    As many of each class as the smallest has, so that every prefix is balanced.
    """
    found = [(labels == label).nonzero().flatten() for label in classes]
    smallest = min(len(rows) for rows in found)
    return torch.stack([rows[:smallest] for rows in found], dim=1).flatten()
