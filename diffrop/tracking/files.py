"""A trial's files as MLflow metrics, tags and images."""

import contextlib
import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Metric
from safetensors import safe_open

from diffrop.schema import require
from diffrop.tracking.scores import numbers, omega_metrics, read_score, score_metrics, scoring_cost

STATUSES = {"RUNNING": "RUNNING", "COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
"""MLflow's run status for each state of a trial."""
GROUPS = ("all", "many", "medium", "few")
Stamp = tuple[str, int, int]
"""Name, size and time of a file."""


@dataclass(frozen=True)
class Progress:
    """What has been read of a trial's files, so that a later look takes up only what is new."""

    bytes_of_curves: int = 0
    rows_of_costs: int = 0
    files: frozenset[Stamp] = frozenset()
    """Each score file and sample grid."""
    omega_curve: str = ""
    """The score file whose curve over omega was taken."""
    started_ms: int | None = None
    """Time of the first line of the curves; None before there is one."""
    ended_ms: int | None = None
    """Time of the last line."""


def label_of(number: int, seed: int | None = None) -> str:
    """Return the short name of a trial, or of its retraining with a fresh seed."""
    return f"t{number:03d}" + ("" if seed is None else f"-s{seed}")


@dataclass(frozen=True, kw_only=True)
class TrackedTrial:
    """A trial as it stands now; its numbers and images are read from its directory."""

    number: int
    name: str
    """Name of its run: "t007 reciprocal tau_0=3.2"."""
    directory: Path
    state: str
    """A key of `STATUSES`."""
    params: Mapping[str, Any]
    """Dotted configuration keys; MLflow keeps the values that it is given first."""
    tags: Mapping[str, str]
    """Such as form, feasible, front, parent (t003@10240) and audited_at."""
    message: str = ""
    """Why it failed, or at which rung it was pruned."""
    seed: int | None = None
    """Fresh seed of a retraining that confirms the trial; None is the trial itself."""

    def __post_init__(self) -> None:
        """Refuse unknown states."""
        require(self.state in STATUSES, "state", self.state, ", ".join(STATUSES))

    @property
    def label(self) -> str:
        """Its short name: t007, or t007-s1 for the retraining with seed 1."""
        return label_of(self.number, self.seed)

    @property
    def ended(self) -> bool:
        """Whether it trains no more."""
        return self.state != "RUNNING"

    @property
    def training(self) -> Path:
        """Where its curves and costs lie: a link into the store, or its own folder."""
        linked = self.directory / "training"
        return linked if linked.exists() else self.directory

    @property
    def checkpoints(self) -> list[Path]:
        """Its checkpoints, oldest first."""
        folder = self.training
        folder = folder / "checkpoints" if folder == self.directory else folder
        return sorted(folder.glob("images_*.safetensors"))

    @property
    def scores(self) -> list[Path]:
        """Its score files, oldest first."""
        return sorted(self.directory.glob("scores/images_*.json"))

    @property
    def samples(self) -> list[Path]:
        """Its sample grids, oldest first."""
        return sorted(self.directory.glob("samples/*.png"))

    def mark(self) -> str:
        """Return a digest of what it says itself, and of its files' names, sizes and times."""
        folder = self.training
        files = [folder / "metrics.jsonl", folder / "cost.jsonl", *self.scores, *self.samples]
        seen = [self, *map(stamp, [*files, *self.checkpoints])]
        return hashlib.sha256(repr(seen).encode()).hexdigest()

    def new_curves(self, before: Progress) -> tuple[list[Metric], Progress]:
        """Return what its curves and costs say beyond what was read `before`."""
        curves, position = self._curve_metrics(before.bytes_of_curves)
        costs = self._cost_metrics()
        times = [metric.timestamp for metric in curves]
        after = dataclasses.replace(
            before,
            bytes_of_curves=position,
            rows_of_costs=len(costs),
            started_ms=min([*times, *_known(before.started_ms)], default=None),
            ended_ms=max([*times, *_known(before.ended_ms)], default=None),
        )
        return [*curves, *(m for row in costs[before.rows_of_costs :] for m in row)], after

    def new_scores(self, before: Progress) -> tuple[list[Metric], Progress]:
        """Return what its score files say beyond what was read `before`.

        Raises:
            ValueError: one is damaged, or not written to its end yet.
        """
        paths = self.scores
        if all(stamp(path) in before.files for path in paths) and not self.ended:
            return [], before
        metrics: list[Metric] = []
        costs, omega_curve = Counter[str](), before.omega_curve
        for path in paths:
            score = read_score(path)
            costs.update(scoring_cost(score))
            if stamp(path) not in before.files:
                metrics += score_metrics(score)
                metrics += numbers(costs, score["time"], score["images_seen"])
            # MLflow cannot take a metric back, so the curve over omega waits for the last score.
            is_last = path == paths[-1] and (score["final"] or self.ended)
            if is_last and path.name != omega_curve:
                metrics += omega_metrics(score)
                omega_curve = path.name
        files = before.files | {stamp(path) for path in paths}
        return metrics, dataclasses.replace(before, files=files, omega_curve=omega_curve)

    def _curve_metrics(self, start: int) -> tuple[list[Metric], int]:
        """Return the metrics of every whole line behind byte `start`, and where the next begins.

        Half a line is still being written.
        """
        path = self.training / "metrics.jsonl"
        if not path.is_file():
            return [], 0
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = start if start <= size else 0  # the training began anew
            file.seek(start)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        metrics: list[Metric] = []
        for values in _lines(whole):
            if "images_seen" in values and "time" in values and self._reached(values):
                metrics += numbers(values, values.pop("time"), values.pop("images_seen"))
        return metrics, start + len(whole)

    def _cost_metrics(self) -> list[list[Metric]]:
        """Return, for each stretch of its training, what the training has cost up to its end."""
        path = self.training / "cost.jsonl"
        metrics: list[list[Metric]] = []
        seconds = gpu_hours = 0.0
        for row in _lines(path.read_bytes()) if path.is_file() else []:
            if type(row.get("seconds")) in (int, float) and type(row.get("to")) is int:
                seconds += row["seconds"]
                gpu_hours += row["seconds"] * (row.get("gpus") or 0) / 3600
                values = {"cost/training_s": seconds, "cost/training_gpu_hours": gpu_hours}
                metrics.append(numbers(values, row.get("time") or 0.0, row["to"]))
        return metrics

    def _reached(self, values: Mapping[str, Any]) -> bool:
        """Whether the trial trained so far: the store may hold more of the same training."""
        last = self.scores[-1:]
        if self.state not in ("PRUNED", "COMPLETE") or not last:
            return True
        return int(values["images_seen"]) <= images_of(last[0])

    def checkpoint(self) -> Path | None:
        """Return the checkpoint that its last score is of, else its newest; None without any."""
        found = self.checkpoints
        scored = [path for path in found if path.stem in {score.stem for score in self.scores}]
        return next(iter((scored or found)[-1:]), None)

    def model_metrics(self, model_id: str, digest: str) -> list[Metric]:
        """Return the newest score's FID of each shot group, as one metric on four data sets.

        The key of MLflow's table leaves the data set out (3.17.2), and four values at one step and
        time are refused as doubles: so each gets a millisecond of its own.
        """
        return [
            Metric(
                "fid",
                score["best"][f"fid/{group}"],
                round(score["time"] * 1000) + i,
                score["images_seen"],
                model_id=model_id,
                dataset_name=group,
                dataset_digest=digest,
            )
            for score in map(read_score, self.scores[-1:])
            for i, group in enumerate(GROUPS)
            if score["best"].get(f"fid/{group}") is not None
        ]

    def lineage(self) -> dict[str, str]:
        """Return which training of the store it has, and which checkpoint that started from."""
        card: Any = None
        with contextlib.suppress(OSError, ValueError):  # it is being written, or not there
            card = json.loads((self.training / "training.json").read_text(encoding="utf-8"))
        found = card if isinstance(card, dict) else {}
        tags = {"training_key": found.get("key"), "parent_checkpoint": found.get("parent")}
        return {key: str(value) for key, value in tags.items() if value}


def stamp(path: Path) -> Stamp:
    """Return name, size and time of a file; zeros where it is not there, or removed just now."""
    try:
        status = path.stat()
    except OSError:
        return path.name, 0, 0
    return path.name, status.st_size, status.st_mtime_ns


def images_of(path: Path) -> int:
    """Return the images seen that a file's name ends with; 0 where it has none."""
    return int(re.sub(r"\D", "", path.stem) or 0)


def read_header(checkpoint: Path) -> tuple[str, str]:
    """Return the JSON card and the SHA-256 of a checkpoint."""
    with safe_open(checkpoint, framework="np") as file:
        metadata = file.metadata()
    return metadata["card"], metadata["sha256"]


def _known(value: int | None) -> list[int]:
    """Return a list of the value, empty for None."""
    return [] if value is None else [value]


def _lines(text: bytes) -> Iterator[dict[str, Any]]:
    """Yield the mappings of JSON lines; a crash amid a line leaves one that is none."""
    for line in text.decode("utf-8", errors="replace").split("\n"):
        with contextlib.suppress(ValueError):
            if isinstance(row := json.loads(line or "0"), dict):
                yield row
