"""Averages of the weights that a training did not keep, from snapshots of those it did."""

import torch
from torch import Tensor

from diffrop.checkpoint_file import Checkpoint
from diffrop.errors import CheckpointError
from diffrop.power_average import MAX_ERROR, Snapshot, allowed_lengths, combine
from diffrop.record.kinds import name_damage
from diffrop.training.checkpoint import average_part, config_of
from diffrop.training.store import TrainingFolder


def reconstruct(
    now: Checkpoint, folder: TrainingFolder, length: float
) -> tuple[dict[str, Tensor], float]:
    """Return the weights of an average that was not kept, and their relative error.

    Sums are of float64, the result has the dtype and device of the averages in `now`. A snapshot
    that is damaged is left out, with a warning.

    Args:
        now: a checkpoint or snapshot of the training, where the average ends.
        folder: of the training.
        length: of the average.

    Raises:
        CheckpointError: the snapshots that are left do not give it well enough.
    """
    kept, end = config_of(now.card).training.ema_lengths, now.card["images_seen"]
    history = folder.history(end)
    history.pop(end, None)
    while kept:
        found = combine(length, kept, history, end)
        if found.error > MAX_ERROR:
            break
        sums: dict[str, Tensor] = {}
        _add(sums, now, [(each, found.weights[Snapshot(end, each)]) for each in kept])
        for time, where in history.items():
            terms = [(each, found.weights[Snapshot(time, each)]) for each in kept]
            try:
                _add(sums, where.read(time), terms)
            except (CheckpointError, KeyError) as error:
                name_damage(where.path_of(time), error)
                del history[time]
                break
        else:
            like = now.part(average_part(kept[0]))
            return {name: total.to(like[name]) for name, total in sums.items()}, found.error
    counted = f"{len(history)} snapshot(s) of them" if kept else "none of them"
    raise CheckpointError(
        f"the average of length {length:g} at {end:,} images was not kept, and cannot be "
        f"reconstructed within {MAX_ERROR:.0%} from {list(kept)}, of which {folder.path} holds "
        f"{counted} before it; allowed: {allowed_lengths(kept, history, end)}"
    )


def _add(sums: dict[str, Tensor], stored: Checkpoint, terms: list[tuple[float, float]]) -> None:
    """Add a snapshot's averages of some lengths, each times its weight; KeyError without one."""
    for length, weight in terms:
        part = stored.part(average_part(length))
        if not part:
            raise KeyError(f"no average of length {length:g}")
        for name, tensor in part.items():
            term = weight * tensor.detach().to("cpu", torch.float64)
            sums[name] = sums[name] + term if name in sums else term
