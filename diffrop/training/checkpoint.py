"""The checkpoints of one training: a folder of files named by images seen.

Torch is imported where a checkpoint is read or written: a record of a study asks for names alone.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffrop.config import ExperimentConfig
from diffrop.errors import CheckpointError
from diffrop.record.names import images_name, images_of
from diffrop.record.trainings import WEIGHTS
from diffrop.storage import RemoteMirror, sweep_temporaries

if TYPE_CHECKING:
    import torch

    from diffrop.checkpoint_file import Checkpoint


class CheckpointDirectory:
    """The checkpoints of one training, named by images seen; the newest `keep` are kept."""

    def __init__(self, path: Path, keep: int = 2) -> None:
        """Use `path`, which need not exist yet."""
        self.path = path
        self._keep = keep

    def files(self) -> list[Path]:
        """Return the checkpoint files, oldest first."""
        found = self.path.glob("images_*.safetensors")
        return sorted(path for path in found if images_of(path) is not None)

    def path_of(self, images_seen: int) -> Path:
        """Return where the checkpoint at `images_seen` is, or would be."""
        return self.path / images_name(images_seen, ".safetensors")

    def save(self, images_seen: int, checkpoint: "Checkpoint") -> Path:
        """Write a checkpoint, then remove old ones and what an earlier crash left behind.

        Raises:
            CheckpointError: it could not be written; nothing was removed.
        """
        from diffrop.checkpoint_file import write_checkpoint

        path = self.path_of(images_seen)
        write_checkpoint(path, checkpoint)
        self._thin(images_seen)
        sweep_temporaries(self.path)
        return path

    def images(self) -> list[int]:
        """Return the images seen of every checkpoint, in rising order."""
        return [images for path in self.files() if (images := images_of(path)) is not None]

    def read(self, images_seen: int, device: "torch.device | str" = "cpu") -> "Checkpoint":
        """Read the checkpoint at `images_seen`.

        Raises:
            NewerFormatError: a later version wrote it.
            CheckpointError: it is missing or damaged, or of another number of images.
        """
        from diffrop.checkpoint_file import read_checkpoint

        path = self.path_of(images_seen)
        found = read_checkpoint(path, device)
        if found.card.get("images_seen") != images_seen:
            raise CheckpointError(
                f"{path} is damaged: its card is of {found.card.get('images_seen')} images"
            )
        return found

    def newest(
        self,
        device: "torch.device | str" = "cpu",
        at_most: int | None = None,
        more_than: int = -1,
        usable: Callable[[int], bool] = lambda images: True,
    ) -> "Checkpoint | None":
        """Return the newest intact checkpoint, with a warning for each damaged one passed over.

        Args:
            device: of its tensors.
            at_most: the images seen that it may have; None allows any number.
            more_than: the images seen that it must exceed.
            usable: says of images seen whether that checkpoint will do; if not, it is passed over.

        Raises:
            NewerFormatError: a later version wrote one; an earlier one, trained on, would replace
                it.
        """
        for images in reversed(self.images()):
            if images <= more_than or (at_most is not None and images > at_most):
                continue
            if not usable(images):
                continue
            try:
                return self.read(images, device)
            except CheckpointError as error:
                warnings.warn(f"{error}; the one before it is used", stacklevel=2)
        return None

    def _thin(self, saved: int) -> None:
        """Remove what may go once the checkpoint at `saved` images is written."""
        for stale in self.files()[: -self._keep]:
            stale.unlink(missing_ok=True)


class MirroredCheckpoints(CheckpointDirectory):
    """Checkpoints that may lie in a remote storage alone; all are kept."""

    def __init__(self, path: Path, mirror: RemoteMirror | None = None) -> None:
        """Use `path`, which need not exist yet, and its remote copy if there is one."""
        super().__init__(path)
        self._mirror = mirror

    def images(self) -> list[int]:
        """Return the images seen of every checkpoint, here or in the remote storage."""
        found: set[int | None] = set(super().images())
        if self._mirror is not None:
            paths = (Path(name) for name in self._mirror.names(self.path))
            found |= {images_of(path) for path in paths if path.match(WEIGHTS)}
        return sorted(images for images in found if images is not None)

    def read(self, images_seen: int, device: "torch.device | str" = "cpu") -> "Checkpoint":
        """Read the checkpoint at `images_seen`, from the remote storage if it is only there.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        path = self.path_of(images_seen)
        if self._mirror is not None and not path.exists():
            self._mirror.pull(path)
        return super().read(images_seen, device)

    def remove(self, images_seen: int) -> int:
        """Delete a checkpoint, here and in the remote storage; return its bytes here."""
        path = self.path_of(images_seen)
        size = path.stat().st_size if path.exists() else 0
        path.unlink(missing_ok=True)
        if self._mirror is not None:
            self._mirror.delete(path)
        return size

    def _thin(self, saved: int) -> None:
        """Remove nothing."""


def config_of(card: dict[str, Any]) -> ExperimentConfig:
    """Return the configuration that a checkpoint's card holds."""
    return ExperimentConfig.from_dict(card["config"])


def average_part(length: float | None) -> str:
    """Return under which prefix a checkpoint holds the average of a length, None the EMA."""
    return "ema" if length is None else f"ema_{length}"
