"""Long-tailed class counts and shot groups, as in Cao et al. (2019) and Section 5.4."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from diffrop.shot_groups import SHOT_GROUPS


def long_tailed_counts(max_count: int, num_classes: int, imbalance_factor: float) -> list[int]:
    """Return images per class n_c = int(n_max * imb^(c / (C - 1))), in label order.

    Raises:
        ValueError: fewer than two classes, or a class would be left without an image.
    """
    if num_classes < 2:
        raise ValueError(f"a long tail over {num_classes} class; allowed: at least 2 classes")
    counts = [
        int(max_count * imbalance_factor ** (c / (num_classes - 1))) for c in range(num_classes)
    ]
    if min(counts) < 1:
        lowest = 1 / max_count
        raise ValueError(
            f"imbalance_factor is {imbalance_factor}, which leaves class {counts.index(0)} "
            f"without an image; allowed: at least {lowest:.4g} at {max_count} images a class"
        )
    return counts


def long_tailed_indices(labels: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the indices of the training subset, class by class in label order.

    The choice within a class is that of the CIFAR-LT of Cao et al. and of the CBDM code: a
    shuffle by NumPy's legacy generator with seed 0, whose first n_c images are kept.
    """
    rng = np.random.RandomState(0)  # legacy on purpose: it defines the published subsets
    kept = []
    for c, count in enumerate(counts):
        indices = np.where(labels.numpy() == c)[0]
        rng.shuffle(indices)
        kept.append(indices[:count])
    return torch.from_numpy(np.concatenate(kept))


def shot_groups(class_counts: Sequence[int]) -> dict[str, list[int]]:
    """Return the labels of the groups many, medium and few, by rank of class count.

    The first C // 3 ranks are many, the last C // 3 few, the rest medium: 3/4/3 of 10 classes,
    33/34/33 of 100. Equal counts rank in label order. Two classes are one many and one few; a
    single class is in no group. Groups without a class are left out.
    """
    num_classes = len(class_counts)
    order = sorted(range(num_classes), key=lambda c: (-class_counts[c], c))
    third = num_classes // 3 if num_classes >= 3 else num_classes // 2
    if third == 0:
        return {}
    ends = (0, third, num_classes - third, num_classes)
    groups = zip(SHOT_GROUPS, itertools.pairwise(ends), strict=True)
    return {name: sorted(order[begin:end]) for name, (begin, end) in groups if begin < end}
