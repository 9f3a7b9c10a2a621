"""The folder of a trial: its training, scores and curves."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from diffrop.errors import CheckpointError
from diffrop.record.score_card import ScoreCard
from diffrop.training.checkpoint import CheckpointDirectory
from diffrop.training.store import CheckpointStore

TRAINING_NOTE = "training.key"
"""File of a trial that names its training, where a link does not travel."""


def trial_key(directory: Path) -> str | None:
    """Return the key of a trial's training, None before it has begun."""
    noted = directory / TRAINING_NOTE
    return noted.read_text("utf-8").strip() if noted.exists() else None


def link_training(directory: Path, store: CheckpointStore) -> None:
    """Link a trial's folder to that of the training which it notes, as `training`."""
    link = directory / "training"
    key = trial_key(directory)
    assert key is not None  # noted before
    target = Path(os.path.relpath(store.root / key, directory.resolve()))
    if link.is_symlink():
        if link.readlink() == target:
            return
        link.unlink()
    link.symlink_to(target, target_is_directory=True)


def pull_trial(directory: Path, store: CheckpointStore) -> None:
    """Fetch all that is known of a trial but weights, from the store's remote storage.

    Its scores, samples, log and curves then lie as if it had run here; nothing happens where
    there is no remote storage.
    """
    if store.mirror is None:
        return
    store.pull(directory)
    key = trial_key(directory)
    if key is not None:
        store.folder(key).pull()
        link_training(directory, store)


def read_scores(directory: Path) -> list[ScoreCard]:
    """Return the scores stored in a trial's folder, by images seen."""
    files = sorted((directory / "scores").glob("images_*.json"))
    return [ScoreCard.from_dict(json.loads(path.read_text("utf-8"))) for path in files]


def scores_path(directory: Path, images: int) -> Path:
    """Return where a trial keeps its scores at a rung."""
    return directory / "scores" / f"images_{images:012d}.json"


def scored_checkpoint(directory: Path, images: int) -> Path:
    """Return the checkpoint behind a trial's score; its training may have gone on since.

    Raises:
        CheckpointError: it is gone.
    """
    path = CheckpointDirectory(directory / "training").path_of(images)
    if not path.exists():
        raise CheckpointError(
            f"{path}, which was scored, is gone; allowed: trials that kept their checkpoints"
        )
    return path


def influence_path(directory: Path) -> Path | None:
    """Return where a trial keeps its samples' influence on its final score, if it has one."""
    return max((directory / "scores").glob("images_*.safetensors"), default=None)


def newest_row(directory: Path) -> dict[str, Any]:
    """Return the newest measurement of each kind in a trial's curves, empty before the first."""
    path = directory / "training" / "metrics.jsonl"
    row: dict[str, Any] = {}
    if path.exists():
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            tail = file.read().decode("utf-8", errors="replace")
        for line in tail.splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # cut at the start, torn at the end
                row |= json.loads(line)
    return row
