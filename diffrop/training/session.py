"""A training as its folder in the store has it: taken up, carried on, written down, stopped."""

import contextlib
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from diffrop import distributed
from diffrop.checkpoint_file import Checkpoint, read_checkpoint
from diffrop.config import ExperimentConfig
from diffrop.data import Dataset
from diffrop.errors import CheckpointError, StopRequested, StorageError
from diffrop.patience import Patience, is_full_disk
from diffrop.record.trainings import TrainingSegment, own_rows
from diffrop.training.identity import TrainingIdentity
from diffrop.training.joint_stop import JointStop
from diffrop.training.room import Room
from diffrop.training.scored_networks import leads_to_averages
from diffrop.training.stop import StopNotice
from diffrop.training.store import CheckpointStore, TrainingFolder
from diffrop.training.trainer import Trainer

POLL_S = 1.0


@dataclass
class TrainingSession:
    """Brings one training to any number of images, at the least cost.

    What is in the store is loaded, and training continues from the newest intact checkpoint. While
    one process trains, others that ask for the same training wait and then find it done. Every
    worker of a training calls the same methods; rank 0 alone writes, and decides what is loaded.
    """

    config: ExperimentConfig
    dataset: Dataset
    device: torch.device
    store: CheckpointStore
    identity: TrainingIdentity
    stop: StopNotice
    gpus_per_worker: float = 0.0
    """For the cost account."""
    study: str = ""
    """Which study pays for what is trained."""
    patience: Patience = field(default_factory=lambda: Patience(0.0))
    """With a disk that is full."""

    def __post_init__(self) -> None:
        """Open the training's folder; no network is built before one is needed."""
        found = (distributed.world_size(), self.dataset.train_digest)
        if found != (self.identity.world_size, self.identity.data_digest):
            raise CheckpointError(
                f"training {self.identity.key} is of {self.identity.world_size} worker(s) and "
                f"data {self.identity.data_digest[:8]}, not of {found[0]} and {found[1][:8]}"
            )
        keep = self.config.training.keep_checkpoints
        self.folder = self.store.folder(self.identity.key, keep)
        self.room = Room(self.patience, self.device)
        self.room.write(lambda: self.store.open(self.identity, keep), self.folder.path)
        self.joint_stop = JointStop(self.stop)
        """For work that the workers share, such as scoring."""
        self._trainer: Trainer | None = None

    def reach(self, images: int) -> Trainer:
        """Return the trainer at exactly `images`, which are at least those of the last call.

        Raises:
            StopRequested: it was asked to stop; a checkpoint is saved.
            NonFiniteError, OutOfMemoryError: as `Trainer.step`.
            CheckpointError: a checkpoint cannot be written, or what it forks from is missing.
            OutageError: there was no room on the disk for longer than is waited for.
        """
        trainer = self._trainer
        if trainer is not None and trainer.images_seen == images:
            return trainer
        if self._load(at_most=images, more_than=images - 1):
            return self._made()
        with self._held():
            self._load(at_most=images, more_than=trainer.images_seen if trainer else -1)
            trainer = self._made()
            if trainer.images_seen == 0:
                self._begin(trainer, images)
            if trainer.images_seen < images:
                self._train(trainer, images)
        return trainer

    def _made(self) -> Trainer:
        if self._trainer is None:
            self._trainer = Trainer(self.config, self.dataset, self.device)
        return self._trainer

    def _load(self, at_most: int, more_than: int) -> bool:
        """Take over the newest intact checkpoint in a range; rank 0 says which."""
        checkpoint: Checkpoint | None = None
        if distributed.rank() == 0:
            checkpoint = self.folder.newest(
                self.device, at_most, more_than, lambda images: self._leads_to(at_most, images)
            )
        images = None if checkpoint is None else checkpoint.card["images_seen"]
        images = distributed.from_rank_0(images, self.device)
        if images is None:
            return False
        self._trainer = None  # one network at a time
        self._made().load(checkpoint or self.folder.read(images, self.device))
        return True

    def hold_guides(self, counts: Iterable[int]) -> None:
        """Have checkpoints at these images, to guide later ones: what is not there is trained.

        Whoever trained it before may not have kept them: then it is trained once more up to there.
        What lies before a fork is the other training's to have.

        Raises:
            CheckpointError, StopRequested, NonFiniteError: as `reach`.
        """
        for images in sorted(counts):
            there = False
            if distributed.rank() == 0:
                owner = self.folder.owner(images)
                there = owner is not self.folder or owner.holds(images)
            if distributed.from_rank_0(there, self.device):
                continue
            if self._trainer is not None and self._trainer.images_seen > images:
                self._trainer = None
            self.reach(images)

    def _leads_to(self, images: int, start: int) -> bool:
        """Return whether a checkpoint at `start` will do; if not, it is trained once more."""
        if leads_to_averages(self.config, self.folder, start, images):
            return True
        warnings.warn(
            f"the checkpoint at {start:,} images is passed over: the snapshots before it do not "
            f"give averages of the lengths {list(self.config.reconstructed_lengths)}",
            stacklevel=2,
        )
        return False

    def raise_if_stopped(self) -> None:
        """Raise StopRequested if any worker knows of a request to stop."""
        with self.joint_stop.piece() as look:
            look()

    def _begin(self, trainer: Trainer, images: int) -> None:
        """Start from where the training forks, from the weights of another, or afresh."""
        start = self.config.training.init_from
        if self.identity.parent is not None:
            trainer.fork(self.store.read(self.identity.parent, self.device))
            if trainer.images_seen > images:
                raise CheckpointError(
                    f"the training forks at {trainer.images_seen:,} images, after the {images:,} "
                    "that it is asked for"
                )
        elif start is not None:
            trainer.start_from(read_checkpoint(Path(start), self.device))

    def _train(self, trainer: Trainer, images: int) -> None:
        every = self.config.training.log_every_images
        curves = _CurveLog(self.folder, every)
        self.room.write(lambda: curves.begin(trainer.images_seen), self.folder.path)
        clock = _StopClock(self.stop, self.device)
        begin, since = trainer.images_seen, time.monotonic()

        def add_segment() -> None:
            nonlocal begin, since
            now, workers = time.monotonic(), distributed.world_size()
            if distributed.rank() == 0 and trainer.images_seen > begin:
                gpus = workers * self.gpus_per_worker
                segment = TrainingSegment(
                    begin=begin,
                    end=trainer.images_seen,
                    seconds=now - since,
                    workers=workers,
                    gpus=gpus,
                    time=time.time(),
                    study=self.study,
                )
                try:
                    self.folder.record.add_segment(segment)
                except OSError as error:
                    if is_full_disk(error):
                        return  # the next segment takes this one in
                    raise
            begin, since = trainer.images_seen, now

        def save() -> None:
            checkpoint = trainer.checkpoint() if distributed.rank() == 0 else None

            def write() -> None:
                curves.write()
                if checkpoint is not None:
                    self.folder.save(trainer.images_seen, checkpoint)

            self.room.write(write, self.folder.path)
            add_segment()
            if distributed.rank() == 0:
                self._push()
            distributed.barrier()

        def save_snapshot() -> None:
            snapshot = trainer.snapshot() if distributed.rank() == 0 else None

            def write() -> None:
                if snapshot is not None:
                    self.folder.snapshots.save(trainer.images_seen, snapshot)

            self.room.write(write, self.folder.path)

        def check() -> None:
            if clock.is_time():
                save()
                raise StopRequested(
                    f"stopped at {trainer.images_seen:,} images as asked, with a checkpoint to go "
                    "on from"
                )

        try:
            trainer.train_until(images, curves.append, save, check, save_snapshot)
            save()
        finally:
            add_segment()  # what failed was paid for, too

    def _push(self) -> None:
        try:
            self.folder.push()
        except StorageError as error:
            warnings.warn(f"{error}; the next checkpoint's copy tries again", stacklevel=2)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the training; wait as long as another trial, of whatever study, trains it."""
        waiting = False
        while True:
            with contextlib.ExitStack() as stack:
                mine = True
                if distributed.rank() == 0:
                    mine = stack.enter_context(self.folder.try_hold())
                if distributed.from_rank_0(mine, self.device):
                    if distributed.rank() == 0:
                        self.folder.pull()
                    yield
                    return
            if not waiting:
                warnings.warn("another trial trains the same; this one waits for it", stacklevel=2)
            waiting = True
            self.raise_if_stopped()
            time.sleep(POLL_S)


class _StopClock:
    """Looks for the request to stop about once a second; workers agree, but not at each step."""

    def __init__(self, stop: StopNotice, device: torch.device) -> None:
        self._stop, self._device = stop, device
        self._steps, self._next, self._since = 0, 1, time.monotonic()

    def is_time(self) -> bool:
        """Return whether to stop, after one more step; the same on every worker."""
        if distributed.world_size() == 1:
            return self._stop.requested()
        self._steps += 1
        if self._steps < self._next:
            return False
        elapsed = time.monotonic() - self._since
        steps = max(1, int(self._steps * POLL_S / max(elapsed, 1e-3)))
        votes = torch.tensor([float(self._stop.requested()), 0.0], device=self._device)
        if distributed.rank() == 0:
            votes[1] = steps  # how many steps make a second
        stopped, steps_agreed = distributed.all_reduce_sum(votes).tolist()
        self._steps, self._next, self._since = 0, int(steps_agreed), time.monotonic()
        return stopped > 0


class _CurveLog:
    """Curves of a training, each number of images once; rank 0 writes.

    Lines past the newest checkpoint are of steps that are lost and come again: they go. Each line
    says at which interval it was logged, for other studies may log the same training at another.
    """

    def __init__(self, folder: TrainingFolder, log_every_images: int) -> None:
        self._folder, self._record, self._every = folder, folder.record, log_every_images
        self._known: set[int] = set()
        self._left: list[dict[str, Any]] = []
        """Rows for which there was no room yet."""

    def begin(self, images_seen: int) -> None:
        """Take up what is written, on rank 0."""
        end = max([images_seen, *self._folder.images()])
        kept = self._record.drop_curves_after(end)
        self._known = {row["images_seen"] for row in own_rows(kept, self._every)}

    def append(self, row: dict[str, Any]) -> None:
        """Write one row, with the interval and the time; on a full disk, with a later one."""
        if distributed.rank() == 0 and row["images_seen"] not in self._known:
            extra = {"log_every_images": self._every, "time": time.time()}
            self._left.append(row | extra)
            try:
                self.write()
            except OSError as error:
                if not is_full_disk(error):
                    raise

    def write(self) -> None:
        """Write the rows that are left."""
        while self._left:
            self._record.add_curve_row(self._left[0])
            del self._left[0]
