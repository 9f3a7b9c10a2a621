"""The checkpoints of all studies of a runs folder, each training under the key of what it is.

A training's folder outlives trials and studies: whoever asks for the same training finds what was
trained of it. Studies pin the checkpoints that they score (`refs/STUDY/IMAGES`, empty files);
what nobody pins is thinned out while it trains, and may be collected later. Snapshots of averages
stay for as long as one of the checkpoints for which they count.
"""

import json
import shutil
import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diffrop.checkpoint_header import read_digest
from diffrop.errors import CheckpointError
from diffrop.power_average import counts_at
from diffrop.record.json_files import read_json
from diffrop.record.kinds import set_damaged_aside
from diffrop.record.trainings import WEIGHTS, StoredTraining
from diffrop.record.trial_folder import TrialFolder
from diffrop.storage import RemoteMirror, try_lock, write_atomically, written_atomically
from diffrop.training.checkpoint import MirroredCheckpoints, config_of
from diffrop.training.identity import KEY_PATTERN, TrainingIdentity, canonical, split_key

if TYPE_CHECKING:
    import torch

    from diffrop.checkpoint_file import Checkpoint


class TrainingFolder(MirroredCheckpoints):
    """What is kept of one training; its newest checkpoints and those that a study pins stay."""

    def __init__(self, path: Path, keep: int = 2, mirror: RemoteMirror | None = None) -> None:
        """Use `path`, which need not exist yet, and its remote copy if there is one."""
        super().__init__(path, mirror)
        self._keep = keep
        self.record = StoredTraining(path)
        """Its curves, its costs and where it forks from."""
        self.snapshots = MirroredCheckpoints(self.record.snapshots_path, mirror)
        """Its power averages at other times than its checkpoints', without anything else."""

    @property
    def key(self) -> str:
        """The training's key."""
        return self.path.name

    def identity(self) -> TrainingIdentity:
        """Return what this training is.

        Raises:
            CheckpointError: its file is missing or damaged.
        """
        path = self.record.identity_path
        try:
            return TrainingIdentity.from_dict(read_json(path))
        except ValueError as error:
            raise CheckpointError(f"{path} does not say what was trained ({error})") from error

    def holds(self, images_seen: int) -> bool:
        """Return whether an intact checkpoint is there, with a warning if it is damaged.

        Raises:
            NewerFormatError: a later version wrote it.
        """
        if images_seen not in self.images():
            return False
        try:
            self.read(images_seen)
        except CheckpointError as error:
            warnings.warn(f"{error}; it is replaced", stacklevel=2)
            return False
        return True

    def pin(self, study: str, images: Iterable[int]) -> None:
        """Keep the checkpoints at these images, once they are there, for as long as a study."""
        folder = self.path / "refs" / study
        folder.mkdir(parents=True, exist_ok=True)
        for count in images:
            (folder / f"{count:012d}").touch()
        self.push(folder)

    def unpin(self, study: str) -> None:
        """Give up what a study pinned."""
        folder = self.path / "refs" / study
        if self._mirror is not None:
            self._mirror.delete(folder)
        shutil.rmtree(folder, ignore_errors=True)

    def pins(self) -> dict[str, list[int]]:
        """Return the images that each study pins."""
        found: dict[str, list[int]] = {}
        for path in sorted(self.path.glob("refs/*/*")):
            if path.name.isdecimal():
                found.setdefault(path.parent.name, []).append(int(path.name))
        return found

    def _thin(self, saved: int) -> None:
        """Remove old checkpoints, but neither pinned ones nor what was trained beyond `saved`."""
        pinned = {images for found in self.pins().values() for images in found}
        older = [images for images in self.images() if images <= saved]
        for images in older[: -self._keep]:
            if images not in pinned:
                self.remove(images)
        self.thin_snapshots()

    def thin_snapshots(self) -> dict[Path, int]:
        """Remove the snapshots that count for no checkpoint; return their bytes here."""
        ends = self.images()
        return {
            self.snapshots.path_of(time): self.snapshots.remove(time)
            for time in self.snapshots.images()
            if not any(counts_at(end, time) for end in ends)
        }

    def source(self) -> "tuple[TrainingFolder, int] | None":
        """Return the folder of the training from which this one forks, and the images there."""
        parent = self.record.parent()
        if parent is None:
            return None
        key, fork = parent
        return TrainingFolder(self.path.parent / key, mirror=self._mirror), fork

    def owner(self, images_seen: int) -> "TrainingFolder":
        """Return where the checkpoint at `images_seen` is, or would be.

        Up to where this training forks, that is the folder of the other.
        """
        source = self.source()
        if source is None or images_seen > source[1]:
            return self
        return source[0].owner(images_seen)

    def line(self) -> list[int]:
        """Return the images of all checkpoints on the way to the newest, in rising order.

        Those of the training from which this one forks are among them.
        """
        source = self.source()
        before = [] if source is None else [n for n in source[0].line() if n <= source[1]]
        return sorted({*before, *self.images()})

    def history(self, images_seen: int) -> "dict[int, MirroredCheckpoints]":
        """Return the folder of each snapshot that counts at `images_seen`, by its time.

        Those of the training from which this one forks are among them.
        """
        found: dict[int, MirroredCheckpoints] = {}
        source = self.source()
        if source is not None:
            before, fork = source
            found |= {time: where for time, where in before.history(fork).items() if time <= fork}
        found |= dict.fromkeys(self.snapshots.images(), self.snapshots)
        return {time: where for time, where in found.items() if counts_at(images_seen, time)}

    def try_hold(self) -> AbstractContextManager[bool]:
        """Hold the training for this process, and say whether that worked; see `try_lock`.

        Two machines that share only a remote storage may train the same at once, which costs
        time, not results.
        """
        return try_lock(self.path / "training.lock")

    def push(self, path: Path | None = None) -> None:
        """Bring the remote copy up to date, if there is one."""
        if self._mirror is not None:
            self._mirror.push(path or self.path)

    def pull(self) -> None:
        """Take over from the remote copy, if there is one, what is newer there; no weights."""
        if self._mirror is not None:
            self._mirror.pull(self.path, skip=WEIGHTS)


@dataclass(frozen=True)
class CheckpointStore:
    """The folder `runs/checkpoints`, and its copy in a remote storage if there is one."""

    root: Path
    mirror: RemoteMirror | None = None

    def folder(self, key: str, keep: int = 2) -> TrainingFolder:
        """Return a training's folder, which need not exist; the newest `keep` are not thinned.

        Raises:
            CheckpointError: it is no training's key, and might lead out of the store.
        """
        if KEY_PATTERN.fullmatch(key) is None:
            raise CheckpointError(f"{key!r} is no training's key; allowed: 32 hexadecimal digits")
        return TrainingFolder(self.root / key, keep, self.mirror)

    def open(self, identity: TrainingIdentity, keep: int = 2) -> TrainingFolder:
        """Return a training's folder; it is made, or fetched, and says what it is."""
        folder = self.folder(identity.key, keep)
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.pull()
        path = folder.record.identity_path
        set_damaged_aside(path, lambda path: folder.identity())
        folder.record.set_unreadable_aside()
        if not path.exists():
            write_atomically(path, json.dumps(identity.to_dict(), indent=1))
        return folder

    def pull(self, path: Path) -> None:
        """Take over a file or folder of the runs folder from the remote storage, if there is one.

        Raises:
            StorageError: it is out of reach or refuses.
        """
        if self.mirror is not None:
            self.mirror.pull(path)

    def pull_trial(self, folder: TrialFolder) -> None:
        """Fetch all that is known of a trial but weights, from the remote storage if there is one.

        Raises:
            StorageError: it is out of reach or refuses.
        """
        folder.pull(self.root, self.mirror)

    def folders(self) -> list[TrainingFolder]:
        """Return every training's folder on this machine, by key."""
        names = [path.parent.name for path in sorted(self.root.glob("*/training.json"))]
        return [self.folder(name) for name in names if KEY_PATTERN.fullmatch(name)]

    def read(self, key: str, device: "torch.device | str" = "cpu") -> "Checkpoint":
        """Read a checkpoint by its key.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        training, images = split_key(key)
        return self.folder(training).read(images, device)

    def import_checkpoint(self, path: Path) -> TrainingIdentity:
        """Return the training of a checkpoint, which is copied here if no intact copy is.

        A checkpoint from outside any store stands for a training of its own, known by its SHA-256.

        Raises:
            CheckpointError: it is no readable checkpoint.
        """
        from diffrop.checkpoint_file import read_checkpoint

        path = path.resolve()
        card = read_checkpoint(path).card
        try:
            identity = TrainingFolder(path.parent).identity()
        except CheckpointError:
            identity = TrainingIdentity(
                canonical(config_of(card)),
                card.get("world_size", 1),
                card["data_digest"],
                origin=f"checkpoint {read_digest(path)}",
            )
        folder = self.open(identity)
        target = folder.path_of(card["images_seen"])
        if not folder.holds(card["images_seen"]):
            with written_atomically(target) as temporary:
                shutil.copyfile(path, temporary)
            folder.push()
        return identity
