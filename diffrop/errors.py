"""The project's own exceptions: faults that are not wrong input (that is ValueError)."""

from pathlib import Path


class DiffropError(Exception):
    """Base class; its message is one sentence that can be shown to a user as it is."""

    exit_code = 1
    """Of a command that it ends: 2 where the command or what it names has to change."""


class NonFiniteError(DiffropError):
    """A loss, gradient or score was NaN or infinite; the message names it and the step."""


class OutOfMemoryError(DiffropError):
    """The device had too little memory; the message names the batch size."""


class CheckpointError(DiffropError):
    """A checkpoint is missing, damaged, foreign, or could not be written."""

    exit_code = 2


class NewerFormatError(DiffropError):
    """A later version wrote a file; what it says is neither read nor replaced."""

    exit_code = 2

    def __init__(self, path: Path, found: object, known: int) -> None:
        """Name the file and both formats."""
        super().__init__(
            f"{path} has format {found}, and this version reads formats up to {known}. To fix: "
            "use the version that wrote it, or a later one"
        )


class StudyError(DiffropError):
    """A study cannot go on: its name is taken, its database damaged, its config changed."""

    exit_code = 2


class ResourceError(DiffropError):
    """A study asks for more CPUs or GPUs than the cluster has."""

    exit_code = 2


class StopRequested(DiffropError):  # noqa: N818
    """A training was asked to stop, and has saved a checkpoint from which it can go on."""


class StorageError(DiffropError):
    """The remote storage is out of reach, or refuses to be read or written."""


class FaultError(DiffropError):
    """Something that a command rests on failed, through no fault of the command."""


class OutageError(DiffropError):
    """What a study needs, its database or room on a disk, was away for longer than it waits."""


class TrackingError(DiffropError):
    """MLflow's database or experiment cannot be used until somebody does something about it."""
