"""The networks that scoring samples from where a training stands: averages and guides."""

import copy
from collections.abc import Mapping

from torch import Tensor, nn

from diffrop.config import ExperimentConfig
from diffrop.power_average import MAX_ERROR, combine, snapshot_times
from diffrop.study.rung import images_of_guide
from diffrop.training.checkpoint import average_part
from diffrop.training.reconstruction import reconstruct
from diffrop.training.store import TrainingFolder
from diffrop.training.trainer import Trainer


def averages(trainer: Trainer, folder: TrainingFolder) -> dict[float | None, nn.Module]:
    """Return the averages to sample from where a training stands, by length.

    They are those that it keeps, and those that scoring asks for beside them.

    Args:
        trainer: of the training.
        folder: where its snapshots are.

    Raises:
        CheckpointError: one cannot be reconstructed from what was kept.
    """
    found = trainer.averages
    if missing := reconstructed_lengths(trainer.config):
        now = trainer.snapshot()
        for length in missing:
            found[length] = _network(trainer, reconstruct(now, folder, length))
    return found


def guides(trainer: Trainer, folder: TrainingFolder) -> dict[float, nn.Module]:
    """Return what scoring guides with where a training stands, by share.

    Args:
        trainer: of the training.
        folder: where its checkpoints are.

    Raises:
        CheckpointError: the checkpoint of one is missing; see `TrainingSession.hold_guides`.
    """
    found: dict[float, nn.Module] = {}
    for share in trainer.config.scored_guides:
        if share is not None:
            size = trainer.config.training.batch_size
            images = images_of_guide(share, trainer.images_seen, size)
            stored = folder.owner(images).read(images, trainer.device)
            found[share] = _network(trainer, stored.part(average_part(None)))
    return found


def reconstructed_lengths(config: ExperimentConfig) -> list[float]:
    """Return the lengths of averages that are scored and not kept."""
    lengths, kept = dict.fromkeys(config.scored_lengths), config.training.ema_lengths
    return [length for length in lengths if length is not None and length not in kept]


def leads_to_averages(
    config: ExperimentConfig, folder: TrainingFolder, start: int, images: int
) -> bool:
    """Return whether a training from a checkpoint at `start` has all averages scored at `images`.

    Whoever trained up to there may have kept no snapshots.
    """
    missing, training = reconstructed_lengths(config), config.training
    if not missing:
        return True
    planned = snapshot_times(images, training.batch_size, training.snapshots_per_doubling, start)
    times = {*planned, *(time for time in folder.history(images) if time <= start)}
    kept = training.ema_lengths
    return all(combine(each, kept, times, images).error <= MAX_ERROR for each in missing)


def _network(trainer: Trainer, weights: Mapping[str, Tensor]) -> nn.Module:
    model = copy.deepcopy(trainer.ema.model)
    model.load_state_dict(weights)
    return trainer.to_sample(model)
