"""Where the trainings of a study start from, if they fork."""

from dataclasses import dataclass
from pathlib import Path

from diffrop.checkpoint_header import read_card
from diffrop.errors import CheckpointError
from diffrop.schema import require
from diffrop.study.rung import in_whole_batches


@dataclass(frozen=True)
class ForkPoint:
    """Where the trainings of a study start from."""

    images: int
    path: Path | None
    """A checkpoint; None is the study's own baseline at `images`."""


def parse_fork(text: str, batch_size: int) -> ForkPoint:
    """Read `baseline@IMAGES`, rounded up to whole batches, or the path of a checkpoint.

    Of a checkpoint only the card is read, not whether it is intact.

    Raises:
        ValueError: it is neither.
    """
    start, mark, number = text.rpartition("@")
    if start == "baseline" and mark:
        images = int(number) if number.replace("_", "").isdigit() else 0
        require(images > 0, "fork_from", text, "baseline@IMAGES, over 0 images, or a file")
        return ForkPoint(in_whole_batches(images, batch_size), None)
    path = Path(text)
    require(path.is_file(), "fork_from", text, "baseline@IMAGES, or the file of a checkpoint")
    try:
        return ForkPoint(read_card(path)["images_seen"], path)
    except CheckpointError as error:
        raise ValueError(f"fork_from: {error}") from error
