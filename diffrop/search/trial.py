"""One trial: train from rung to rung, score at each, report.

The same function runs in the trial's own process (one worker) and in every worker of a Ray Train
group (several). All state is in the trial's folder, so that a restarted trial goes on from it.
"""

import contextlib
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from diffrop import distributed
from diffrop.config import ExperimentConfig
from diffrop.search.config import Rung
from diffrop.search.scoring import ScoreCard, ScoringInputs, score_model, scored_alike
from diffrop.training.checkpoint import (
    Checkpoint,
    CheckpointDirectory,
    read_checkpoint,
    write_checkpoint,
)
from diffrop.training.trainer import Trainer

Report = Callable[[dict[str, Any]], object]


@dataclass(frozen=True)
class TrialTask:
    """What one trial does, and where it keeps its files."""

    directory: Path
    config: ExperimentConfig
    rungs: tuple[Rung, ...]

    @property
    def checkpoints(self) -> CheckpointDirectory:
        """The trial's checkpoints."""
        keep = self.config.training.keep_checkpoints
        return CheckpointDirectory(self.directory / "checkpoints", keep)


def run_trial(
    task: TrialTask, inputs: ScoringInputs, device: torch.device, report: Report
) -> None:
    """Train and score a trial; goes on from the newest intact checkpoint in its folder.

    Without one it starts afresh, from the weights of `training.init_from` if that is given.

    Args:
        task: what to train.
        inputs: dataset, extractor and reference.
        device: of this worker.
        report: receives, at each rung and on every worker, `images_seen`, `score` (the objective
            at the best omega), `omega`, `final` and every score by its name.

    Raises:
        NonFiniteError, OutOfMemoryError, CheckpointError: as Trainer and score_model.
    """
    with _log_to(task.directory / "trial.log"):
        trainer = Trainer(task.config, inputs.dataset, device)
        newest = task.checkpoints.newest(device)
        if newest is not None:
            trainer.load(newest)
        elif task.config.training.init_from is not None:
            trainer.start_from(read_checkpoint(Path(task.config.training.init_from), device))
        log = _MetricsLog(task.directory / "metrics.jsonl", trainer.images_seen)
        for rung in task.rungs:
            _train_to(rung, trainer, task, log)
            report(_result(_score(rung, trainer, task, inputs)))


def read_scores(directory: Path) -> list[ScoreCard]:
    """Return the scores stored in a trial's folder, by images seen."""
    files = sorted((directory / "scores").glob("images_*.json"))
    return [ScoreCard.from_dict(json.loads(path.read_text("utf-8"))) for path in files]


def _train_to(rung: Rung, trainer: Trainer, task: TrialTask, log: "_MetricsLog") -> None:
    def save() -> None:
        if distributed.rank() == 0:
            task.checkpoints.save(trainer.images_seen, trainer.checkpoint())
        distributed.barrier()

    if trainer.images_seen < rung.images:
        trainer.train_until(rung.images, log.append, save)
        save()


def _score(rung: Rung, trainer: Trainer, task: TrialTask, inputs: ScoringInputs) -> ScoreCard:
    """Score at a rung, or read the score that an earlier run of this trial stored."""
    path = scores_path(task.directory, rung.images)
    if path.exists():
        card = ScoreCard.from_dict(json.loads(path.read_text("utf-8")))
        if scored_alike(card, task.config, inputs, rung):
            return card
    scored = score_model(
        trainer.averages, trainer.schedule, task.config, inputs, rung, trainer.images_seen
    )
    if distributed.rank() == 0:
        grid = task.directory / "samples" / f"images_{rung.images:012d}.png"
        save_grid(scored.images, inputs.dataset.num_classes, grid)
        if scored.influence:
            influence = Checkpoint(scored.influence, {"scores": path.name})
            write_checkpoint(path.with_suffix(".safetensors"), influence)
        write_atomically(path, json.dumps(scored.card.to_dict()))
    distributed.barrier()
    return scored.card


def scores_path(directory: Path, images: int) -> Path:
    """Return where a trial keeps its scores at a rung."""
    return directory / "scores" / f"images_{images:012d}.json"


def influence_path(directory: Path) -> Path | None:
    """Return where a trial keeps its samples' influence on its final score, if it has one."""
    return max((directory / "scores").glob("images_*.safetensors"), default=None)


def _result(card: ScoreCard) -> dict[str, Any]:
    return {
        "images_seen": card.images_seen,
        "score": card.value,
        "omega": card.omega,
        "final": card.final,
        **card.scores,
    }


class _MetricsLog:
    """Curves of a trial as JSON lines; rank 0 writes. Lines past a resume are dropped first."""

    def __init__(self, path: Path, images_seen: int) -> None:
        self._path = path
        if distributed.rank() == 0 and path.exists():
            kept = [row for row in _json_lines(path) if row["images_seen"] <= images_seen]
            write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))

    def append(self, row: dict[str, float]) -> None:
        if distributed.rank() == 0:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**row, "time": time.time()}) + "\n")


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text("utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # the torn last line of a killed trial
            yield json.loads(line)


def newest_row(directory: Path) -> dict[str, Any]:
    """Return the newest measurement of each kind in a trial's curves, empty before the first."""
    path = directory / "metrics.jsonl"
    row: dict[str, Any] = {}
    if path.exists():
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            tail = file.read().decode("utf-8", errors="replace")
        for line in tail.splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # cut at the start, torn at the end
                row |= json.loads(line)
    return row


def write_atomically(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def save_grid(images: Tensor, num_columns: int, path: Path) -> None:
    """Write uint8 images (N, C, H, W) as one PNG, row by row, enlarged to 32 pixels at least."""
    scale = max(1, 32 // images.shape[-1])
    tiles = images.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    tiles = torch.nn.functional.pad(tiles, (1, 1, 1, 1), value=255)
    rows = [torch.cat(list(row), dim=2) for row in tiles.split(num_columns)]
    width = max(row.shape[2] for row in rows)
    padded = [torch.nn.functional.pad(row, (0, width - row.shape[2]), value=255) for row in rows]
    grid = torch.cat(padded, dim=1).permute(1, 2, 0).squeeze(-1).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grid).save(path)


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Collect warnings and log records of this process in the trial's own file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            yield
    except Exception:
        logging.getLogger(__name__).exception("the trial failed")
        raise
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        handler.close()
