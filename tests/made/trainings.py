"""Short trainings on the CPU, and what they measure."""

import torch

from diffrop.training.trainer import Trainer

CPU = torch.device("cpu")


def measured(trainer: Trainer, steps: int) -> list[dict[str, float]]:
    """Train for some steps and return what each measured."""
    return [{k: v.item() for k, v in trainer.step().items()} for _ in range(steps)]
