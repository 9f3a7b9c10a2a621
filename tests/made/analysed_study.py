"""Writes a study's folder as the search engine leaves it, with plausible numbers."""

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
        "sampling.num_steps": 10,
        "evaluation.num_samples": 1_000,
        "evaluation.extractor": "classifier",
        "evaluation.guidance_scales": list(OMEGAS),
    }
)
SPACE = [
    {
        "name": "contrastive.form",
        "type": "categorical",
        "when": None,
        "source": "Section 4.2",
        "choices": ["negative_l2", "hinge", "reciprocal", "exponential"],
    },
    {
        "name": "contrastive.tau_0",
        "type": "float",
        "low": 0.1,
        "high": 100.0,
        "log": True,
        "when": None,
        "source": "1 to 10 % of the DDPM gradient needs 1 to 10",
    },
    {
        "name": "contrastive.decay_temperature",
        "type": "float",
        "low": 0.1,
        "high": 1.0,
        "log": True,
        "when": None,
        "source": "unpublished",
    },
    {
        "name": "contrastive.margin",
        "type": "float",
        "low": 0.995,
        "high": 1.05,
        "log": False,
        "when": {"contrastive.form": ["hinge"]},
        "source": "optimal Gaussian denoiser",
    },
]
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


def write_study(
    directory: Path,
    *,
    trials: Sequence[tuple[Any, ...]] = NINE_TRIALS,
    name: str = "tau-sweep",
    reference_scores: bool = True,
    export: bool = True,
    **more: Any,
) -> Path:
    """Write a finished study; `more` adds keys to study.yaml."""
    directory.mkdir(parents=True)
    config = {
        "format": 3,
        "name": name,
        "num_trials": len(trials),
        "seed": 0,
        "space": {"parameters": SPACE},
        "experiment": EXPERIMENT.to_dict(),
        **more,
    }
    (directory / "study.yaml").write_text(yaml.safe_dump(config))
    rows = [_write_trial(directory, *trial) for trial in trials]
    complete = sorted((r for r in rows if r["state"] == "COMPLETE"), key=lambda r: r["value"])
    for rank, row in enumerate(complete, start=1):
        row["rank"] = rank
    write_trials(directory, rows)
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


def write_trials(directory: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (directory / "trials.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def read_trials(directory: Path) -> list[dict[str, Any]]:
    with (directory / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write_checkpoint(directory: Path, number: int, images: int, class_counts: list[int]) -> None:
    """A file with the header of a safetensors checkpoint, and no tensors."""
    folder = directory / "trials" / f"t{number:03d}" / "training"
    folder.mkdir(exist_ok=True)
    card = json.dumps({"class_counts": class_counts, "images_seen": images})
    header = json.dumps({"__metadata__": {"card": card}}).encode()
    data = len(header).to_bytes(8, "little") + header
    (folder / f"images_{images:012d}.safetensors").write_bytes(data)


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
) -> dict[str, Any]:
    folder = directory / "trials" / f"t{number:03d}"
    (folder / "scores").mkdir(parents=True)
    rungs = RUNGS[:num_rungs]
    for images in rungs:
        score = _score(number, form, tau_0, images)
        (folder / "scores" / f"images_{images:012d}.json").write_text(json.dumps(score))
    _write_metrics(folder, number, form, tau_0, rungs[-1] if rungs else 1_024)
    if rungs:
        _write_samples(folder, number, rungs[-1])
    row = {
        "number": number,
        "name": f"{folder.name} {form}",
        "state": state,
        "rank": "",
        "baseline": number == 0,
        "form": form,
        "tau_0": tau_0,
        "decay_temperature": kappa,
        "margin": margin,
        "value": "",
        "omega": "",
        "message": message,
        "duration_s": 20.5 + 60 * num_rungs,
        "contrastive.space": "mu",
    }
    if rungs:
        best = next(p for p in score["curve"] if p["omega"] == score["omega"])
        row |= {key: score[key] for key in ("value", "omega", "images_seen", "sampler")}
        row |= {"extractor": score["extractor"], "reference": score["reference"]}
        row |= {"rung": rungs[-1], **best["scores"]}
        ends = score["intervals"].get("fid/all", {})
        row |= {f"value_{end}": value for end, value in ends.items()}
        row |= {f"num_samples/{group}": n for group, n in score["num_samples"].items()}
    return row


def _score(number: int, form: str, tau_0: float | None, images: int) -> dict[str, Any]:
    final = images == RUNGS[-1]
    base = BEST_OMEGA_FID.get(form, 42.7) + 30 * (1 - images / RUNGS[-1])
    if tau_0 is not None:
        base += 2.5 * abs(math.log10(tau_0 / 3))
    best_omega = OMEGAS[1 + number % 2]
    curve = []
    for omega in OMEGAS:
        level = base + 9 * (omega - best_omega) ** 2
        scores = {f"fid/{group}": level + more for group, more in SHOT_OFFSETS.items()}
        for group in ("many", "medium", "few"):
            scores[f"fid_full/{group}"] = level + 150
        scores["accuracy/all"] = min(0.6 + 0.15 * omega, 0.95)
        curve.append({"omega": omega, "scores": scores})
    num_samples = {"all": 1000 if final else 300}
    num_samples |= dict.fromkeys(("many", "medium", "few"), 300 if final else 90)
    return {
        "images_seen": images,
        "time": 1.7e9 + images,
        "objective": "fid/all",
        "value": base,
        "omega": best_omega,
        "sampler": "ddim-10",
        "extractor": "classifier-digits",
        "reference": "full training set, class-weighted",
        "num_reference": num_samples,
        "num_samples": num_samples,
        "final": final,
        "curve": curve,
        "class_scores": {},
        "intervals": {"fid/all": {"low": base - 3, "high": base + 3}} if final else {},
    }


def _write_metrics(folder: Path, number: int, form: str, tau_0: float | None, images: int) -> None:
    rng = np.random.default_rng(number)
    lines = []
    for seen in range(512, images + 1, 512):
        row = {
            "images_seen": seen,
            "time": 1.7e9 + seen,
            "loss/ddpm": 0.1 + 200 / seen,
            "grad_norm": 0.4,
            "images_per_s": 130.0,
        }
        if tau_0 is not None:
            weight = {"negative_l2": 0.05, "hinge": 0.01, "reciprocal": 0.012}.get(form, 0.005)
            ratio = weight * tau_0 * math.exp(rng.normal(0, 0.4))
            row |= {"loss/pcl": 0.3 * tau_0, "pcl/grad_ratio": ratio}
        lines.append(json.dumps(row))
    (folder / "training").mkdir(exist_ok=True)
    (folder / "training/metrics.jsonl").write_text("\n".join(lines) + "\n")


def _write_samples(folder: Path, number: int, images: int) -> None:
    (folder / "samples").mkdir()
    rng = np.random.default_rng(number)
    grid = Image.fromarray(rng.integers(0, 256, (100, 80), dtype=np.uint8))
    grid.save(folder / "samples" / f"images_{images:012d}.png")
