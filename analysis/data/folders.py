"""Where a study's files lie."""

from collections.abc import Iterator
from pathlib import Path

from analysis.data.names import trial_name


def trial_folder(directory: Path, number: int) -> Path:
    """Return a trial's folder in a study's; its name is the trial's short name, such as t007."""
    return directory / "trials" / trial_name(number)


def training_folder(trial: Path) -> Path:
    """Return where a trial's checkpoints and curves lie: a link into the store that studies share.

    Studies of format 2 keep them in the trial's own folder.
    """
    linked = trial / "training"
    return linked if linked.exists() else trial


def checkpoint_files(trial: Path) -> list[Path]:
    """Return a trial's checkpoints, oldest first."""
    folder = training_folder(trial)
    folder = folder / "checkpoints" if folder == trial else folder
    return sorted(folder.glob("images_*.safetensors"))


def confirmation_folders(directory: Path) -> Iterator[tuple[int, Path]]:
    """Yield the number of the trial and the folder of each retraining, such as t003-s1."""
    for folder in sorted((directory / "confirm").glob("t*-s*")):
        number = folder.name[1:].partition("-")[0]
        if number.isdigit():
            yield int(number), folder
