"""Which weights of a store may go."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from diffrop.training.store import CheckpointStore


@dataclass(frozen=True)
class Garbage:
    """What a collection removed."""

    files: tuple[Path, ...]
    num_bytes: int


def collect_garbage(store: CheckpointStore, study: str, keep: Iterable[str]) -> Garbage:
    """Give up a study's trainings but those in `keep`, and remove weights that nobody needs.

    Needed is every checkpoint of a training that any study pins, the one from which such a
    training forks, and those before it that are pinned with it, which guide it. A training that is
    under way stays. Curves, costs and scores always stay.

    Args:
        store: the checkpoints of all studies.
        study: the one that gives up its trainings.
        keep: keys of the trainings that it keeps, those of its unfinished trials among them.
    """
    kept, folders = set(keep), store.folders()
    for folder in folders:
        if folder.key not in kept:
            folder.unpin(study)
    needed: set[tuple[str, int] | None] = set()
    for folder in folders:
        if pins := folder.pins():
            needed.add(folder.record.parent())
            counts = {images for found in pins.values() for images in found}
            needed |= {(folder.owner(images).key, images) for images in counts}
    removed: dict[Path, int] = {}
    for folder in folders:
        with folder.try_hold() as held:
            if not held or folder.pins():
                continue
            for images in folder.images():
                if (folder.key, images) not in needed:
                    removed[folder.path_of(images)] = folder.remove(images)
            removed |= folder.thin_snapshots()
    return Garbage(tuple(removed), sum(removed.values()))
