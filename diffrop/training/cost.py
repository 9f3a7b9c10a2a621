"""What the trainings of a store took."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from diffrop.training.store import CheckpointStore


@dataclass(frozen=True)
class TrainingCost:
    """What trainings took, each counted once."""

    seconds: float = 0.0
    worker_seconds: float = 0.0
    gpu_seconds: float = 0.0


def training_cost(store: CheckpointStore, keys: Iterable[str]) -> TrainingCost:
    """Return what trainings took, with the parts of others from which they fork.

    Args:
        store: where they are.
        keys: of trainings; one that is named twice, or shared as a prefix, counts once.
    """
    wanted: dict[str, float] = {}
    queue: list[tuple[str, float]] = [(key, math.inf) for key in keys]
    while queue:
        key, until = queue.pop()
        if wanted.get(key, -1) >= until:
            continue
        wanted[key] = until
        parent = store.folder(key).parent()
        if parent is not None:
            queue.append(parent)
    stretches = [
        stretch
        for key, until in wanted.items()
        for stretch in store.folder(key).stretches()
        if stretch.end <= until
    ]
    return TrainingCost(
        sum(stretch.seconds for stretch in stretches),
        sum(stretch.seconds * stretch.workers for stretch in stretches),
        sum(stretch.seconds * stretch.gpus for stretch in stretches),
    )
