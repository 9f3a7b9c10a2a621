"""Class-balancing diffusion models (CBDM): Qin et al. (2023), the paper's strongest baseline."""

import torch
from torch import Tensor

from diffrop.config import ObjectiveConfig
from diffrop.data.batches import class_probabilities


def other_label_probabilities(config: ObjectiveConfig, class_counts: list[int]) -> Tensor:
    """Return the distribution of y_bal, float64 (C,): long-tailed or uniform over classes."""
    return class_probabilities(
        class_counts, "uniform" if config.cbdm_labels == "uniform" else "natural"
    )


def draw_other_labels(probabilities: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw y_bal, int64 (count,), independent of the images' labels, with which it may agree.

    Args:
        probabilities: of `other_label_probabilities`, on the generator's device.
        count: images of the global batch.
        generator: on the device of the result.
    """
    return torch.multinomial(probabilities, count, replacement=True, generator=generator)


def cbdm_regulariser(
    config: ObjectiveConfig, h: Tensor, h_bal: Tensor, time: Tensor, dropped: Tensor
) -> Tensor:
    """Return mean of t/T tau (|| h - sg h_bal ||^2 + gamma || sg h - h_bal ||^2), a scalar.

    The first term moves the branch of the image's label, the second (the commitment, gamma = 1/4)
    that of the other. An image whose label was dropped has no branch of its own label: it counts
    with 0, so that the term is what whole-batch dropping gives in expectation.

    Args:
        config: tau and gamma.
        h: noise predicted under the image's label (B, C, H, W).
        h_bal: noise predicted under y_bal, same x_t and t, same shape.
        time: t / T (B,).
        dropped: whether the label was dropped, bool (B,).
    """
    h, h_bal = h.float(), h_bal.float()
    regulariser = (h - h_bal.detach()).square().flatten(1).mean(1)
    commitment = (h.detach() - h_bal).square().flatten(1).mean(1)
    weight = torch.where(dropped, 0, config.cbdm_tau * time)
    return (weight * (regulariser + config.cbdm_commitment * commitment)).mean()
