"""The folder of a trial or of a retraining: its training, scores, sample grids and messages."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from diffrop.errors import CheckpointError
from diffrop.record.json_files import parse_record, read_record, write_passing, write_record
from diffrop.record.kinds import read_stored, set_damaged_aside
from diffrop.record.names import (
    TRAINING_LINK,
    files_by_images,
    images_name,
    images_of,
    parse_label,
)
from diffrop.record.score_card import ScoreCard, read_score
from diffrop.record.scoring_now import ScoringNow
from diffrop.record.trainings import WEIGHTS, StoredTraining
from diffrop.storage import RemoteMirror, set_aside, sweep_temporaries, write_atomically

KEY = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True)
class TrainingFailure:
    """Why a retraining of a confirmation failed for good."""

    message: str
    key: str
    """Of the training that failed; another number of workers would train another."""


@dataclass(frozen=True)
class TrialFolder:
    """A folder such as `trials/t007`, `confirm/t003-s1` or `prefix/seed-0`."""

    path: Path

    @property
    def number(self) -> int:
        """The trial's number; ValueError if the folder is not named after a trial."""
        return self._label[0]

    @property
    def seed(self) -> int | None:
        """Which of the fresh seeds, if it is a retraining that confirms the trial."""
        return self._label[1]

    @property
    def _label(self) -> tuple[int, int | None]:
        found = parse_label(self.path.name)
        if found is None:
            raise ValueError(f"{self.path} is no trial's folder")
        return found

    @property
    def log(self) -> Path:
        """Warnings and messages of the processes that ran it."""
        return self.path / "trial.log"

    @property
    def waiting_mark(self) -> Path:
        """The file that lies there while the trial waits for room on the disk."""
        return self.path / "waits-for-room"

    @property
    def scoring_note(self) -> Path:
        """The file that lies there while the trial is scored, and says how far that is."""
        return self.path / "scoring.json"

    def scoring(self) -> ScoringNow | None:
        """Return how far the score is that the trial is being given; None if it is not scored."""
        try:
            return parse_record(self.scoring_note, ScoringNow)
        except ValueError:  # it is not there, or is cut: the next one comes in seconds
            return None

    @contextlib.contextmanager
    def noting_scoring(self, writes: bool) -> Iterator[Callable[[ScoringNow], None]]:
        """Give what writes down how far a score is, for as long as it is made.

        Args:
            writes: whether this process does; of several workers one does.
        """

        def note(now: ScoringNow) -> None:
            if writes:
                with contextlib.suppress(OSError):  # a full disk costs the note alone
                    write_passing(self.scoring_note, now)

        try:
            yield note
        finally:
            if writes:
                self.scoring_note.unlink(missing_ok=True)

    @property
    def training_note(self) -> Path:
        """The file that names the training, where a link does not travel."""
        return self.path / "training.key"

    @property
    def training_link(self) -> Path:
        """The link to the training in the store."""
        return self.path / TRAINING_LINK

    def training_key(self) -> str | None:
        """Return the key of the training, None before it has begun.

        It stands in a note and is the name that the link leads to; each serves for the other.
        """
        return read_stored(self.training_note, self._read_note) or self._linked_key()

    def _linked_key(self) -> str | None:
        link = self.training_link
        return link.readlink().name if link.is_symlink() else None

    def _read_note(self, path: Path) -> str:
        """Read the note of the training's key; ValueError if it is cut or names no key."""
        key, linked = path.read_text("utf-8").strip(), self._linked_key()
        if KEY.fullmatch(key) is None or len(key) != len(linked or key):
            raise ValueError("it names no training")
        return key

    def training(self, store: Path | None = None) -> StoredTraining:
        """Return the training, found by the link or, where `store` is given, by its key."""
        link = self.training_link
        if link.is_symlink() and link.exists():
            return StoredTraining(link.resolve())
        key = self.training_key() if store is not None else None
        return StoredTraining(link if store is None or key is None else store / key)

    def use_training(self, key: str, store: Path) -> None:
        """Note the key of the training, and link to its folder in the store."""
        write_atomically(self.training_note, key + "\n")
        self._link_training(key, store)

    def _link_training(self, key: str, store: Path) -> None:
        link = self.training_link
        target = Path(os.path.relpath(store / key, self.path.resolve()))
        if link.is_symlink():
            if link.readlink() == target:
                return
            link.unlink()
        elif link.exists():
            set_aside(link)
        link.symlink_to(target, target_is_directory=True)

    def pull(self, store: Path, mirror: RemoteMirror | None) -> None:
        """Fetch all that is known of the trial but weights, where there is a remote storage.

        Its scores, samples, log and curves then lie as if it had run here.

        Raises:
            StorageError: the remote storage is out of reach or refuses.
        """
        if mirror is None:
            return
        mirror.pull(self.path)
        key = self.training_key()
        if key is not None:
            mirror.pull(store / key, skip=WEIGHTS)
            self._link_training(key, store)

    @property
    def scores_path(self) -> Path:
        """The folder of the scores."""
        return self.path / "scores"

    def score_path(self, images_seen: int) -> Path:
        """Return where the score at a rung is, or would be."""
        return self.scores_path / images_name(images_seen, ".json")

    def score_files(self) -> list[Path]:
        """Return the score files, by images seen."""
        return files_by_images(self.scores_path, ".json")

    def score(self, images_seen: int) -> ScoreCard | None:
        """Return the score at a rung; None without one and, with a warning, where it is damaged.

        Raises:
            NewerFormatError: a later version wrote it.
        """
        return read_stored(self.score_path(images_seen), read_score)

    def scores(self) -> list[ScoreCard]:
        """Return the scores that can be read, by images seen; a warning names each other one.

        Raises:
            NewerFormatError: a later version wrote one.
        """
        found = (read_stored(path, read_score) for path in self.score_files())
        return [card for card in found if card is not None]

    def influence_path(self) -> Path | None:
        """Return the file of the samples' influence on the final score, if there is one."""
        return next(reversed(files_by_images(self.scores_path, ".safetensors")), None)

    def scored_checkpoint(self, images_seen: int) -> Path:
        """Return the checkpoint behind a score; its training may have gone on since.

        Raises:
            CheckpointError: it is gone.
        """
        path = StoredTraining(self.training_link).checkpoint_path(images_seen)
        if not path.exists():
            raise CheckpointError(
                f"{path}, which was scored, is gone; allowed: trials that kept their checkpoints"
            )
        return path

    def grid_path(self, images_seen: int) -> Path:
        """Return where the sample grid of a score is, or would be."""
        return self.path / "samples" / images_name(images_seen, ".png")

    def grids(self) -> list[Path]:
        """Return the sample grids, by images seen."""
        return files_by_images(self.path / "samples", ".png")

    def failure(self) -> TrainingFailure | None:
        """Return why a retraining failed for good, None if it did not."""
        return read_record(self.failure_path, TrainingFailure)

    def set_damaged_aside(self, read_influence: Callable[[Path], object]) -> None:
        """Give way to the files that are made again, where the present ones are damaged.

        The influence of its samples is a part of a score: both are made again.

        Args:
            read_influence: reads such a file, or raises one of `kinds.DAMAGED`.

        Raises:
            NewerFormatError: a later version wrote one.
        """
        sweep_temporaries(self.path)
        self.scoring_note.unlink(missing_ok=True)  # of a process that was killed
        sweep_temporaries(self.scores_path)
        set_damaged_aside(self.failure_path, lambda path: parse_record(path, TrainingFailure))
        if set_damaged_aside(self.training_note, self._read_note) and (key := self._linked_key()):
            write_atomically(self.training_note, key + "\n")
        for path in self.score_files():
            set_damaged_aside(path, read_score)
        for path in files_by_images(self.scores_path, ".safetensors"):
            score = path.with_suffix(".json")
            if set_damaged_aside(path, read_influence) and score.exists():
                set_aside(score)

    def record_failure(self, failure: TrainingFailure) -> None:
        """Write down why a retraining failed for good."""
        write_record(self.failure_path, failure, indent=None)

    @property
    def failure_path(self) -> Path:
        """Where it is written why a retraining failed for good."""
        return self.path / "failure.json"

    def signs_of_life(self) -> list[Path]:
        """Return what a worker writes while it runs the trial."""
        training = StoredTraining(self.training_link)
        noted = [self.log, self.scoring_note, self.scores_path]
        return [*noted, training.curves_path, training.costs_path]


def score_of_checkpoint(path: Path) -> ScoreCard | None:
    """Return the score of a checkpoint in a trial's folder; None without one, or elsewhere.

    Raises:
        NewerFormatError: a later version wrote it.
    """
    seen = images_of(path)
    if path.parent.name != TRAINING_LINK or seen is None:
        return None
    return TrialFolder(path.parent.parent).score(seen)
