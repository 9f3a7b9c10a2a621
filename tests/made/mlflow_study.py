"""Trials on disk as a study writes them, and what MLflow holds of them."""

from pathlib import Path
from typing import Any

import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from diffrop.checkpoint_file import Checkpoint, write_checkpoint
from diffrop.record.score_card import CurvePoint, ScoreCard, write_score
from diffrop.record.study_folder import StudyFolder
from diffrop.tracking.experiment import RUN_BY, SEED, TRIAL
from diffrop.tracking.tracked_trial import TrackedTrial
from diffrop.tracking.tracker import Tracker

TOKEN = "0a1b2c3d4e5f"
CANARY = "c4n4ry-s3cret"
TIME = 1_732_300_000.5


def make_tracker(uri: str, tmp_path: Path, launch: str = "launch-1", **options: Any) -> Tracker:
    root = None if uri.startswith("http") else tmp_path / "art ifacts"
    defaults: dict[str, Any] = {
        "experiment": "study",
        "token": TOKEN,
        "params": {"budget": 8},
        "tags": {"git": "abc"},
    }
    return Tracker(uri, artifact_root=root, launch=launch, **(defaults | options))


def study_of(tmp_path: Path) -> StudyFolder:
    """The folder of the study whose trials are made."""
    return StudyFolder(tmp_path / "runs" / "study")


def make_trial(
    tmp_path: Path, number: int = 7, state: str = "RUNNING", **more: Any
) -> TrackedTrial:
    study, seed = study_of(tmp_path), more.get("seed")
    folder = study.trial(number) if seed is None else study.retraining(number, seed)
    key = f"{number:08x}" + ("" if seed is None else f"{seed:08x}")
    (study.store / key).mkdir(parents=True, exist_ok=True)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.use_training(key, study.store)
    values: dict[str, Any] = {
        "name": f"t{number:03d} reciprocal tau_0=3.2",
        "params": {"contrastive.tau_0": 3.2, "contrastive.form": "reciprocal", "long": "x" * 9000},
        "tags": {"form": "reciprocal", SEED: "0", RUN_BY: "host-1"},
        "message": "",
    }
    return TrackedTrial(number=number, folder=folder, state=state, **(values | more))


def add_lines(trial: TrackedTrial, start: int = 0, count: int = 3) -> None:
    for i in range(start, start + count):
        row = {
            "images_seen": 64 * (i + 1),
            "time": TIME + i,
            "log_every_images": 64,
            "loss/ddpm": 0.1 / (i + 1),
            "pcl/grad_ratio": None if i % 2 else 0.3,
            "images_per_s": 900 + i,
        }
        trial.training.add_curve_row(row)


def add_score(trial: TrackedTrial, images: int, few: float, final: bool = True) -> None:
    def point(
        omega: float, shift: float, count: int = 1000, sampler: str = "ddim-10"
    ) -> CurvePoint:
        groups = {"all": 40.0, "many": 30.0, "medium": 50.0, "few": few}
        scores = {f"fid/{name}": value + shift for name, value in groups.items()}
        return CurvePoint(
            omega=omega,
            sampler=sampler,
            num_samples=count,
            scores=scores | {"accuracy/all": 0.75},
        )

    counts = {"all": 1000, "many": 300, "medium": 300, "few": 300}
    card = ScoreCard(
        images_seen=images,
        time=TIME + images,
        objectives=["fid/all"],
        values=[40.0],
        omega=0.5,
        sampler="ddim-10",
        extractor="classifier-digits",
        reference="full training set",
        num_samples=counts,
        num_reference=counts,
        final=final,
        curve=[
            point(0.0, 30.0, 100),
            point(0.5, 20.0, 100),
            point(0.5, 50.0, 100, "ancestral-1000"),
            point(0.0, 9.0),
            point(0.5, 0.0),
        ],
        intervals={},
        class_scores={},
        samples_drawn=2300,
        seconds={"sampling": 9.0, "features": 2.0, "metrics": 1.0},
    )
    write_score(trial.folder.score_path(images), card)


def add_checkpoint(trial: TrackedTrial, images: int) -> Path:
    path = trial.training.checkpoint_path(images)
    card = {"images_seen": images, "data_digest": "d1ge57" * 9, "config": {}}
    tensors = {"ema.weight": torch.full((2,), float(images + trial.number))}
    write_checkpoint(path, Checkpoint(tensors, card))
    return path


def add_sample(trial: TrackedTrial, images: int = 192) -> None:
    path = trial.folder.grid_path(images)
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (80, 40), (trial.number, 0, 0)).save(path)


def make_full_trial(
    tmp_path: Path, number: int = 7, few: float = 60.0, **more: Any
) -> TrackedTrial:
    trial = make_trial(tmp_path, number, more.pop("state", "COMPLETE"), **more)
    add_lines(trial)
    add_score(trial, 192, few)
    add_sample(trial)
    add_checkpoint(trial, 192)
    return trial


def runs_of(uri: str) -> tuple[list[Run], dict[str, Run]]:
    """Parent runs, and child runs by trial number."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    children = [run for run in runs if TRIAL in run.data.tags]
    by_number = {run.data.tags[TRIAL]: run for run in children}
    assert len(by_number) == len(children), "a trial has two runs"
    return [run for run in runs if TRIAL not in run.data.tags], by_number


def history(uri: str, run: Run, key: str) -> list[tuple[int, int, float]]:
    found = MlflowClient(uri).get_metric_history(run.info.run_id, key)
    return sorted((metric.step, metric.timestamp, metric.value) for metric in found)


def models_of(uri: str, **search: Any) -> list[Any]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None
    return list(client.search_logged_models([experiment.experiment_id], **search))


def snapshot(uri: str) -> list[Any]:
    """Everything that must not change when the same trial is synced again."""
    _, children = runs_of(uri)
    client = MlflowClient(uri)
    content = []
    for number, run in sorted(children.items()):
        keys = sorted(run.data.metrics)
        points = {key: history(uri, run, key) for key in keys}
        outputs = client.get_run(run.info.run_id).outputs
        linked = [output.model_id for output in outputs.model_outputs] if outputs else []
        info = (run.info.run_id, run.info.status, run.info.end_time, run.info.run_name)
        files = [item.path for item in client.list_artifacts(run.info.run_id, "images")]
        content.append((number, info, run.data.params, run.data.tags, points, linked, files))
    models = [(m.model_id, m.status, len(m.metrics or [])) for m in models_of(uri)]
    return [*content, *sorted(models)]
