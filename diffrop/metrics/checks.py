"""The checks that every metric makes of its features."""

import torch
from torch import Tensor


def check_features(features: Tensor, name: str, at_least: int = 1) -> None:
    """Refuse what is no set of features (N, D).

    Args:
        features: (N, D), any float dtype and device.
        name: of the argument, for messages.
        at_least: images that the metric needs.

    Raises:
        ValueError: another shape, too few images, or a row that is not finite.
    """
    if features.dim() != 2:
        shape = tuple(features.shape)
        raise ValueError(f"{name} have the shape {shape}; allowed: (images, values)")
    if len(features) < at_least:
        raise ValueError(f"{name} are of {len(features)} image(s); allowed: at least {at_least}")
    bad = (~torch.isfinite(features).all(dim=1)).nonzero()
    if len(bad):
        raise ValueError(f"{name} of image {int(bad[0])} are not finite")
