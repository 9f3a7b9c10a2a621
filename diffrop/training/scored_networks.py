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


def averages(
    trainer: Trainer, folder: TrainingFolder
) -> tuple[dict[float | None, nn.Module], dict[float | None, float]]:
    """Return the averages to sample from where a training stands, and errors, both by length.

    The averages are those that it keeps, and those that scoring asks for beside them; of these
    the reconstruction's relative errors are returned.

    Args:
        trainer: of the training.
        folder: where its snapshots are.

    Raises:
        CheckpointError: one cannot be reconstructed from what was kept.
    """
    found = trainer.averages
    errors: dict[float | None, float] = {}
    if missing := trainer.config.reconstructed_lengths:
        now = trainer.snapshot()
        for length in missing:
            weights, errors[length] = reconstruct(now, folder, length)
            found[length] = _network(trainer, weights)
    return found, errors


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


def leads_to_averages(
    config: ExperimentConfig, folder: TrainingFolder, start: int, images: int
) -> bool:
    """Return whether a training from a checkpoint at `start` has all averages scored at `images`.

    Whoever trained up to there may have kept no snapshots.
    """
    missing, training = config.reconstructed_lengths, config.training
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
