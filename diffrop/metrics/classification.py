"""How well a classifier knows a set: accuracy, and macro averages of precision and recall."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassificationScores:
    """Accuracy, and the means over classes of precision and recall."""

    accuracy: float
    precision: float
    recall: float
    num_images: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


def classification_scores(
    predictions: Tensor, labels: Tensor, classes: Sequence[int] | None = None
) -> ClassificationScores:
    """Score predicted labels; scikit-learn's macro averages.

    Args:
        predictions: predicted label of each image, int64 (N,).
        labels: true label, int64 (N,).
        classes: the averages are over these, and accuracy over their images; None takes all that
            occur. A class that is never predicted has precision 0.

    Raises:
        ValueError: no image of the classes.
    """
    from sklearn.metrics import precision_recall_fscore_support

    chosen = sorted(labels.unique().tolist()) if classes is None else list(classes)
    inside = torch.isin(labels, torch.tensor(chosen))
    if not inside.any():
        raise ValueError(f"no image of the classes {chosen}; allowed: at least one")
    precision, recall, _, _ = precision_recall_fscore_support(
        labels.numpy(), predictions.numpy(), labels=chosen, average="macro", zero_division=0.0
    )
    right = (predictions == labels)[inside].double()
    return ClassificationScores(
        float(right.mean()), float(precision), float(recall), int(inside.sum())
    )
