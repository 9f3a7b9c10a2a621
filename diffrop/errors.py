"""The project's own exceptions: faults that are not wrong input (that is ValueError)."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


class DiffropError(Exception):
    """Base class; its message is one sentence that can be shown to a user as it is."""


class NonFiniteError(DiffropError):
    """A loss, gradient or score was NaN or infinite; the message names it and the step."""


class OutOfMemoryError(DiffropError):
    """The device had too little memory; the message names the batch size."""


class CheckpointError(DiffropError):
    """A checkpoint is missing, damaged, foreign, or could not be written."""


class NewerFormatError(DiffropError):
    """A later version wrote a file; what it says is neither read nor replaced."""

    def __init__(self, path: Path, found: object, known: int) -> None:
        """Name the file and both formats."""
        super().__init__(
            f"{path} has format {found}, and this version reads formats up to {known}. To fix: "
            "use the version that wrote it, or a later one"
        )


class StudyError(DiffropError):
    """A study cannot go on: its name is taken, its database damaged, its config changed."""


class ResourceError(DiffropError):
    """A study asks for more CPUs or GPUs than the cluster has."""


class StopRequested(DiffropError):  # noqa: N818
    """A training was asked to stop, and has saved a checkpoint from which it can go on."""


class StorageError(DiffropError):
    """The remote storage is out of reach, or refuses to be read or written."""


@contextlib.contextmanager
def errors_to_exit() -> Iterator[None]:
    """End the program with one sentence and exit code 2 on wrong input or a known fault."""
    try:
        yield
    except (ValueError, DiffropError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
