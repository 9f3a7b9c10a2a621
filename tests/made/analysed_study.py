"""A study of nine trials with plausible numbers, and ways to change what it wrote."""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from diffrop.config import ExperimentConfig
from diffrop.record.score_card import CurvePoint, ScoreCard
from diffrop.record.study_folder import StudyFolder
from diffrop.record.tables import write_trials as write_trials_table
from diffrop.record.trainings import Row
from diffrop.study.config import StudyConfig
from diffrop.study.space import Parameter, SearchSpace
from tests.made.scores import score_card
from tests.made.stored_study import MadeTrial, store_results, store_training

OMEGAS = (0.0, 0.5, 1.0, 2.0)
RUNGS = (6_016, 12_032, 24_000)
SHOT_OFFSETS = {"all": 0.0, "many": 6.0, "medium": 11.0, "few": 19.0}
BEST_OMEGA_FID = {
    "none": 44.0,
    "negative_l2": 47.5,
    "hinge": 43.1,
    "reciprocal": 41.2,
    "exponential": 42.3,
}

# number, state, form, tau_0, decay_temperature, margin, rungs reached, message
NINE_TRIALS = (
    (0, "COMPLETE", "none", None, None, None, 3, ""),
    (1, "COMPLETE", "reciprocal", 3.2, 0.3, None, 3, ""),
    (2, "COMPLETE", "exponential", 8.5, 0.55, None, 3, ""),
    (3, "COMPLETE", "hinge", 1.1, 0.2, 1.02, 3, ""),
    (4, "COMPLETE", "negative_l2", 0.4, 0.9, None, 3, ""),
    (5, "COMPLETE", "reciprocal", 31.0, 0.12, None, 3, ""),
    (6, "PRUNED", "exponential", 0.2, 0.35, None, 1, ""),
    (7, "FAIL", "negative_l2", 92.0, 0.7, None, 0, "NonFiniteError: loss is nan at image 1,024"),
    (8, "FAIL", "hinge", 15.0, 0.4, 0.997, 1, "worker died twice"),
)

EXPERIMENT = ExperimentConfig().with_values(
    {
        "training.num_images": 24_000,
        "training.batch_size": 64,
        "training.warmup_images": 1_024,
        "training.log_every_images": 512,
        "sampling.num_steps": 10,
        "evaluation.num_samples": 1_000,
        "evaluation.extractor": "classifier",
        "evaluation.guidance_scales": list(OMEGAS),
    }
)
SEARCHED = SearchSpace(
    parameters=(
        Parameter(
            name="contrastive.form",
            choices=("negative_l2", "hinge", "reciprocal", "exponential"),
            source="Section 4.2",
        ),
        Parameter(
            name="contrastive.tau_0",
            low=0.1,
            high=100.0,
            log=True,
            source="1 to 10 % of the DDPM gradient needs 1 to 10",
        ),
        Parameter(
            name="contrastive.decay_temperature",
            low=0.1,
            high=1.0,
            log=True,
            source="unpublished",
        ),
        Parameter(
            name="contrastive.margin",
            low=0.995,
            high=1.05,
            when={"contrastive.form": ["hinge"]},
            source="optimal Gaussian denoiser",
        ),
    )
)
SPACE = SEARCHED.to_dict()["parameters"]
REFERENCE_SCORES = {
    "noise": {
        "scores": {"fid/all": 480.5, "fid/many": 495.0, "fid/medium": 488.0, "fid/few": 501.0},
        "num_samples": {"all": 1000, "many": 300, "medium": 300, "few": 300},
    },
    "real": {
        "scores": {"fid/all": 3.1, "fid/many": 5.2, "fid/medium": 6.4, "fid/few": 5.9},
        "num_samples": {"all": 1000, "many": 300, "medium": 300, "few": 300},
        "note": "1000 real images against the other 797",
    },
}
FURTHER = {"contrastive.space": "mu"}
"""A column that trials.csv has beside those that every study has."""


def write_study(
    directory: Path,
    *,
    trials: Sequence[tuple[Any, ...]] = NINE_TRIALS,
    name: str = "tau-sweep",
    reference_scores: bool = True,
    export: bool = True,
    **more: Any,
) -> Path:
    """Write a finished study; `more` changes keys of study.yaml."""
    config = StudyConfig(
        name=name,
        num_trials=max(2, len(trials)),
        space=SEARCHED,
        experiment=EXPERIMENT,
    )
    made = [_write_trial(directory, *trial) for trial in trials]
    result = store_results(directory, config, made, **more)
    write_trials_table(StudyFolder(directory), result)
    write_trials(directory, [row | FURTHER for row in read_trials(directory)])
    if reference_scores:
        (directory / "anchors.json").write_text(json.dumps(REFERENCE_SCORES))
    if export:
        best = EXPERIMENT.with_values({"contrastive.form": "reciprocal"}).to_dict()
        provenance = {
            "study": name,
            "trial": 1,
            "git_commit": "0123abc",
            "versions": {"python": "3.11.7", "torch": "2.14.1"},
        }
        exported = {"config": best, "omega": 1.0, "provenance": provenance}
        (directory / "best.yaml").write_text(yaml.safe_dump(exported))
    return directory


def searched_values(
    form: str, tau_0: float | None, kappa: float | None, margin: float | None, **more: object
) -> dict[str, Any]:
    """Return the searched keys of a trial that have a value."""
    found = {
        "contrastive.form": form,
        "contrastive.tau_0": tau_0,
        "contrastive.decay_temperature": kappa,
        "contrastive.margin": margin,
        **more,
    }
    return {key: value for key, value in found.items() if value is not None}


def write_trials(directory: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write trials.csv of these rows, as a test changed them."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (directory / "trials.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def read_trials(directory: Path) -> list[dict[str, Any]]:
    """Return the rows of trials.csv as texts."""
    with (directory / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write_checkpoint(directory: Path, number: int, images: int, class_counts: list[int]) -> None:
    """A file with the header of a safetensors checkpoint, and no tensors."""
    card = json.dumps({"class_counts": class_counts, "images_seen": images})
    header = json.dumps({"__metadata__": {"format": "1", "card": card}}).encode()
    data = len(header).to_bytes(8, "little") + header
    training = StudyFolder(directory).trial(number).training()
    training.checkpoint_path(images).write_bytes(data)


def _write_trial(
    directory: Path,
    number: int,
    state: str,
    form: str,
    tau_0: float | None,
    kappa: float | None,
    margin: float | None,
    num_rungs: int,
    message: str,
) -> MadeTrial:
    """Write a trial's training and sample grids, and return the trial."""
    rungs = RUNGS[:num_rungs]
    folder, key = StudyFolder(directory), f"{directory.name}-{number}"
    rows = _curve_rows(number, form, tau_0, rungs[-1] if rungs else 1_024)
    store_training(folder.store, key, rows=rows)
    if rungs:
        write_grid(folder.trial(number).grid_path(rungs[-1]), number)
    return MadeTrial(
        number=number,
        state=state,
        values=searched_values(form, tau_0, kappa, margin),
        cards=[_score(number, form, tau_0, images) for images in rungs],
        training=key,
        message=message,
        duration_s=20.5 + 60 * num_rungs,
    )


def _score(number: int, form: str, tau_0: float | None, images: int) -> ScoreCard:
    final = images == RUNGS[-1]
    base = BEST_OMEGA_FID.get(form, 42.7) + 30 * (1 - images / RUNGS[-1])
    if tau_0 is not None:
        base += 2.5 * abs(math.log10(tau_0 / 3))
    best_omega = OMEGAS[1 + number % 2]
    num_samples = {"all": 1000 if final else 300}
    num_samples |= dict.fromkeys(("many", "medium", "few"), 300 if final else 90)
    curve = []
    for omega in OMEGAS:
        level = base + 9 * (omega - best_omega) ** 2
        scores = {f"fid/{group}": level + more for group, more in SHOT_OFFSETS.items()}
        for group in ("many", "medium", "few"):
            scores[f"fid_full/{group}"] = level + 150
        scores["accuracy/all"] = min(0.6 + 0.15 * omega, 0.95)
        curve.append(
            CurvePoint(
                omega=omega, sampler="ddim-10", num_samples=num_samples["all"], scores=scores
            )
        )
    return score_card(
        base,
        images,
        half_width=3 if final else None,
        time=1.7e9 + images,
        omega=best_omega,
        sampler="ddim-10",
        extractor="classifier-digits",
        reference="full training set, class-weighted",
        num_samples=num_samples,
        num_reference=num_samples,
        final=final,
        curve=curve,
        samples_drawn=len(OMEGAS) * num_samples["all"],
    )


def _curve_rows(number: int, form: str, tau_0: float | None, images: int) -> list[Row]:
    rng = np.random.default_rng(number)
    rows = []
    for seen in range(512, images + 1, 512):
        row = {
            "images_seen": seen,
            "time": 1.7e9 + seen,
            "log_every_images": 512,
            "loss/ddpm": 0.1 + 200 / seen,
            "grad_norm": 0.4,
            "images_per_s": 130.0,
        }
        if tau_0 is not None:
            weight = {"negative_l2": 0.05, "hinge": 0.01, "reciprocal": 0.012}.get(form, 0.005)
            ratio = weight * tau_0 * math.exp(rng.normal(0, 0.4))
            row |= {"loss/pcl": 0.3 * tau_0, "pcl/grad_ratio": ratio}
        rows.append(row)
    return rows


def write_grid(path: Path, number: int) -> None:
    """Write a sample grid of noise."""
    path.parent.mkdir(parents=True)
    rng = np.random.default_rng(number)
    Image.fromarray(rng.integers(0, 256, (100, 80), dtype=np.uint8)).save(path)
