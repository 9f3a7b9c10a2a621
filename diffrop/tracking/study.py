"""What a study's folder says of the whole study, as metrics and tags of the launch's run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow.entities import Metric

from diffrop.tracking.files import label_of
from diffrop.tracking.mlflow_private import NOTE
from diffrop.tracking.scores import FINAL_STEP, numbers

STUDY_FILES = (
    "study.yaml",
    "trials.csv",
    "best.yaml",
    "anchors.json",
    "plan.json",
    "fidelity.json",
    "confirm.json",
    "front.csv",
    "warm_start.json",
)


def study_metrics(directory: Path) -> list[Metric]:
    """Return plan and fact of the cost, the rungs' rank agreement, and the confirmation.

    Raises:
        ValueError: a file is damaged.
    """
    metrics: list[Metric] = []
    costs = _read(directory / "plan.json")
    for kind in ("plan", "fact"):
        values = {f"{kind}/{key}": value for key, value in (costs.get(kind) or {}).items()}
        metrics += numbers(values, _written(directory / "plan.json"), FINAL_STEP)
    fidelity = _read(directory / "fidelity.json")
    for rung in fidelity.get("rungs") or []:
        keys = ("tau", "low", "high", "num_trials", "num_audited", "num_samples")
        values = {f"fidelity/{key}": rung.get(key) for key in keys}
        metrics += numbers(values, _written(directory / "fidelity.json"), int(rung["images"]))
    for leader in _read(directory / "confirm.json").get("leaders") or []:
        name = f"confirmation/{label_of(int(leader['trial']))}"
        values = {f"{name}_{key}": leader.get(key) for key in ("mean", "low", "high")}
        metrics += numbers(values, _written(directory / "confirm.json"), FINAL_STEP)
    return metrics


def study_tags(directory: Path) -> dict[str, str]:
    """Return the verdicts, and what earlier studies taught, in words.

    Each is a tag of its own, and the verdicts together are the run's description.

    Raises:
        ValueError: a file is damaged.
    """
    verdicts = dict(_verdicts(directory))
    tags = {f"verdict.{name}": text for name, text in verdicts.items()}
    note = "\n\n".join(f"**{name.capitalize()}**: {text}" for name, text in verdicts.items())
    if learned := _read(directory / "warm_start.json").get("notes"):
        tags["warm_start"] = "\n".join(map(str, learned))
    return tags | ({NOTE: note} if note else {})


def _verdicts(directory: Path) -> Iterator[tuple[str, str]]:
    for name, file in (("confirmation", "confirm.json"), ("fidelity", "fidelity.json")):
        if verdict := _read(directory / file).get("verdict"):
            yield name, str(verdict)


def _written(path: Path) -> float:
    """Return when a file was written, in seconds; 0 without it, and then it says nothing."""
    return path.stat().st_mtime if path.is_file() else 0.0


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON mapping; empty without the file."""
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
