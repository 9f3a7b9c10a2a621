"""Writes a study with everything that the engine can leave: the store, rounds, front, audits."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.made.analysed_study import EXPERIMENT, REFERENCE_SCORES, SPACE, write_trials

OMEGAS = (0.0, 0.5, 1.0, 1.5, 2.0)
RUNGS = {6_016: (250, 4), 12_032: (500, 8), 24_000: (1_000, 16)}
"""Samples and steps at each rung."""
FINAL = 24_000
FULL = 1_000
SHOT_OFFSETS = {"all": 0.0, "many": 6.0, "medium": 11.0, "few": 19.0}
BEST_FID = {
    "none": 44.0,
    "negative_l2": 47.5,
    "hinge": 43.1,
    "reciprocal": 41.2,
    "exponential": 42.3,
}
SCHEDULES = ("exponential", "constant", "linear", "cosine")
SCHEDULE_LOSS = {"exponential": 0.0, "constant": 1.6, "linear": 0.7, "cosine": 0.9}
TRUNK = "00c0ffee00c0ffee"
SECONDS = {"sampling": 9.0, "features": 2.0, "metrics": 1.0}
TRAINING_S = 40.0
"""Of each stretch between two rungs."""

# number, state, form, tau_0, decay_temperature, margin, schedule, rungs reached
TRIALS = (
    (0, "COMPLETE", "none", None, None, None, None, 3),
    (1, "COMPLETE", "reciprocal", 3.2, 0.3, None, "exponential", 3),
    (2, "COMPLETE", "exponential", 8.5, 0.55, None, "exponential", 3),
    (3, "COMPLETE", "hinge", 1.1, 0.2, 1.02, "exponential", 3),
    (4, "COMPLETE", "negative_l2", 0.4, 0.9, None, "constant", 3),
    (5, "COMPLETE", "reciprocal", 31.0, 0.12, None, "linear", 3),
    (6, "PRUNED", "exponential", 0.2, 0.35, None, "cosine", 1),
    (7, "FAIL", "negative_l2", 92.0, 0.7, None, "constant", 0),
    (8, "COMPLETE", "hinge", 15.0, 0.4, 0.997, "constant", 3),
    (9, "COMPLETE", "reciprocal", 0.9, 0.5, None, "cosine", 3),
    (10, "COMPLETE", "exponential", 2.1, 0.25, None, "linear", 3),
    (11, "PRUNED", "hinge", 60.0, 0.8, 1.045, "cosine", 2),
    (12, "COMPLETE", "hinge", 4.0, 0.3, 1.035, "exponential", 3),
    (13, "COMPLETE", "reciprocal", 5.5, 0.2, None, "exponential", 3),
    (14, "PRUNED", "negative_l2", 20.0, 0.15, None, "linear", 1),
    (15, "COMPLETE", "exponential", 20.0, 0.1, None, "cosine", 3),
    (16, "RUNNING", "reciprocal", 1.5, 0.8, None, "constant", 1),
    (17, "COMPLETE", "negative_l2", 1.2, 0.3, None, "exponential", 3),
)
AUDITED = {8: 12_032, 17: 6_016}
"""Trials that the rule would have stopped, with the images at which."""
KEY = "contrastive.tau_schedule"
CONSTRAINT = "fid/many <= baseline + 5%"

FULL_EXPERIMENT = EXPERIMENT.with_values(
    {
        "evaluation.objectives": ["fid/all", "fid/few"],
        "evaluation.constraints": [CONSTRAINT],
        "evaluation.guidance_scales": list(OMEGAS),
        "sampling.num_steps": 16,
    }
)
FULL_SPACE = [
    *SPACE,
    {
        "name": KEY,
        "type": "categorical",
        "when": None,
        "source": "Figure 4a",
        "choices": list(SCHEDULES),
    },
]


def write_full_study(
    directory: Path, name: str = "full", trials: Sequence[tuple[Any, ...]] = TRIALS
) -> Path:
    """Write a study of format 3 with every file that one can have."""
    directory.mkdir(parents=True)
    config = {
        "format": 3,
        "name": name,
        "num_trials": len(trials),
        "seed": 0,
        "scheduler": "asha",
        "fork_from": "baseline@2048",
        "space": {"parameters": FULL_SPACE},
        "experiment": FULL_EXPERIMENT.to_dict(),
    }
    (directory / "study.yaml").write_text(yaml.safe_dump(config))
    rows = [_write_trial(directory, *trial) for trial in trials]
    _write_training(directory, TRUNK, [2_048], None, {})
    complete = [row for row in rows if row["state"] == "COMPLETE"]
    for rank, row in enumerate(sorted(complete, key=lambda row: row["value"]), start=1):
        row["rank"] = rank
    limit = 1.05 * rows[0]["fid/many"]
    for row in complete:
        row["feasible"] = row["fid/many"] <= limit
        row |= {"difference_value": row["value"] - rows[0]["value"]} if row["number"] else {}
        if row["number"]:
            row["difference_low"] = row["difference_value"] - 0.6
            row["difference_high"] = row["difference_value"] + 0.6
    _mark_front(complete)
    write_trials(directory, rows)
    _write_front(directory, complete)
    _write_confirmation(directory, rows)
    for file, content in (
        ("anchors.json", REFERENCE_SCORES),
        ("fidelity.json", fidelity(rows)),
        ("plan.json", PLAN),
    ):
        (directory / file).write_text(json.dumps(content))
    return directory


def fidelity(rows: list[dict[str, Any]]) -> dict[str, Any]:
    full = sum(row["state"] == "COMPLETE" for row in rows)
    shared = {"num_trials": full, "num_audited": len(AUDITED)}
    return {
        "metric": "kendall_tau",
        "rungs": [
            {
                "images": 6_016,
                "num_samples": 250,
                "num_steps": 4,
                **shared,
                "tau": 0.62,
                "low": 0.21,
                "high": 0.87,
            },
            {
                "images": 12_032,
                "num_samples": 500,
                "num_steps": 8,
                **shared,
                "tau": 0.81,
                "low": 0.55,
                "high": 0.95,
            },
        ],
        "verdict": "The rungs rank as the end does, from 6,016 images on.",
    }


PLAN: dict[str, Any] = {
    "plan": {
        "rungs": [],
        "gpu_hours": 0.0,
        "worker_hours": 0.75,
        "samples": 90_000,
        "images": 300_000,
        "memory_mib": 900,
        "disk_mib": 120,
        "cost": None,
        "price_per_gpu_hour": None,
        "confirm": None,
    },
    "fact": None,
}


def true_fid(form: str, tau_0: float | None, schedule: str | None) -> float:
    """What a trial converges to at its best omega and infinite N."""
    base = BEST_FID.get(form, 42.7) + SCHEDULE_LOSS.get(str(schedule), 0.0)
    return base if tau_0 is None else base + 2.5 * abs(math.log10(tau_0 / 3))


def _write_trial(
    directory: Path,
    number: int,
    state: str,
    form: str,
    tau_0: float | None,
    kappa: float | None,
    margin: float | None,
    schedule: str | None,
    num_rungs: int,
) -> dict[str, Any]:
    folder = directory / "trials" / f"t{number:03d}"
    (folder / "scores").mkdir(parents=True)
    rungs = list(RUNGS)[:num_rungs]
    key = f"{number:016x}"
    _write_training(directory, key, rungs or [1_024], TRUNK, _curves(number, form, tau_0))
    (folder / "training").symlink_to(Path("../../..") / "checkpoints" / key)
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
        KEY: schedule,
        "value": "",
        "omega": "",
        "duration_s": 20 + 60 * num_rungs,
        "message": "NonFiniteError: loss is nan" if state == "FAIL" else "",
        "feasible": "",
        "front": False,
        "audited_at": AUDITED.get(number, ""),
        "parent": "",
        "training_key": key,
        "training_s": TRAINING_S * num_rungs,
        "scoring_s": 12.0 * num_rungs,
        "samples_drawn": 0,
        "gpus": 0,
    }
    for images in rungs:
        card = score_card(number, form, tau_0, schedule, images)
        (folder / "scores" / f"images_{images:012d}.json").write_text(json.dumps(card))
        chosen = next(p for p in reversed(card["curve"]) if p["omega"] == card["omega"])
        row["samples_drawn"] += card["samples_drawn"]
        row |= {"value": card["values"][0], "images_seen": images, "rung": images}
        row |= {key: card[key] for key in ("omega", "sampler", "extractor", "reference")}
        row |= chosen["scores"]
        row |= {f"num_samples/{group}": n for group, n in card["num_samples"].items()}
        row |= {f"value_{end}": x for end, x in card["intervals"].get("fid/all", {}).items()}
    return row


def score_card(
    number: int, form: str, tau_0: float | None, schedule: str | None, images: int
) -> dict[str, Any]:
    """The scores of a checkpoint, as a search for omega by halving leaves them."""
    num_samples, steps = RUNGS[images]
    rng = np.random.default_rng([number, images])
    level = true_fid(form, tau_0, schedule) + 40 * (1 - images / FINAL)
    level += float(rng.normal(0, 3 if images < FINAL else 0.1))
    best_omega = OMEGAS[1 + number % 3]
    curve, left = [], sorted(OMEGAS, key=lambda omega: abs(omega - best_omega))
    for drawn, kept in ((num_samples // 4, 5), (num_samples // 2, 3), (num_samples, 1)):
        for omega in left[:kept]:
            fid = level + 9 * (omega - best_omega) ** 2 + 2_000 / drawn
            scores = {f"fid/{group}": fid + more for group, more in SHOT_OFFSETS.items()}
            scores["fid/few"] += 2 * math.cos(number)
            curve.append(
                {
                    "omega": omega,
                    "sampler": f"ddim-{steps}",
                    "num_samples": drawn,
                    "scores": scores,
                }
            )
    final = images == FINAL
    values = [curve[-1]["scores"][name] for name in ("fid/all", "fid/few")]
    counts = {"all": num_samples} | dict.fromkeys(("many", "medium", "few"), num_samples * 3 // 10)
    return {
        "images_seen": images,
        "time": 1.7e9 + images,
        "objectives": ["fid/all", "fid/few"],
        "values": values,
        "omega": best_omega,
        "sampler": f"ddim-{steps}",
        "extractor": "classifier-digits",
        "reference": "full training set, class-weighted",
        "num_samples": counts,
        "num_reference": counts,
        "final": final,
        "curve": curve,
        "samples_drawn": sum(row["num_samples"] for row in curve),
        "seconds": SECONDS,
        "class_scores": {},
        "intervals": {"fid/all": {"low": values[0] - 1.5, "high": values[0] + 1.5}}
        if final
        else {},
    }


def _curves(number: int, form: str, tau_0: float | None) -> dict[str, Any]:
    return {"number": number, "form": form, "tau_0": tau_0}


def _write_training(
    directory: Path, key: str, rungs: list[int], parent: str | None, trial: dict[str, Any]
) -> None:
    """One training of the store, with its curves and the cost of each stretch."""
    folder = directory.parent / "checkpoints" / key
    folder.mkdir(parents=True)
    card = {"key": key, "parent": f"{parent}-2048" if parent else None, "seed": 0}
    (folder / "training.json").write_text(json.dumps(card))
    rng = np.random.default_rng(trial.get("number", 99))
    lines = []
    for seen in range(512, rungs[-1] + 1, 512):
        row = {
            "images_seen": seen,
            "time": 1.7e9 + seen,
            "grad_norm": 0.4,
            "images_per_s": 130.0,
            "loss/ddpm": 0.1 + 200 / seen + 0.01 * float(rng.normal()),
        }
        if trial.get("tau_0") is not None:
            ratio = 0.01 * trial["tau_0"] * math.exp(rng.normal(0, 0.4))
            row |= {"loss/pcl": 0.3 * trial["tau_0"], "pcl/grad_ratio": ratio}
        if trial.get("form") == "hinge":
            row["pcl/active_share"] = float(np.clip(rng.normal(0.5, 0.05), 0, 1))
        lines.append(json.dumps(row))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    costs, start = [], 0
    for end in rungs:
        costs.append(
            {
                "from": start,
                "to": end,
                "seconds": TRAINING_S,
                "workers": 2,
                "gpus": 0,
                "time": 1.7e9,
            }
        )
        start = end
    (folder / "cost.jsonl").write_text("".join(f"{json.dumps(cost)}\n" for cost in costs))


def _mark_front(complete: list[dict[str, Any]]) -> None:
    feasible = [row for row in complete if row["feasible"]]
    for row in feasible:
        row["front"] = not any(
            other["fid/all"] <= row["fid/all"]
            and other["fid/few"] <= row["fid/few"]
            and other is not row
            for other in feasible
        )


def _write_front(directory: Path, complete: list[dict[str, Any]]) -> None:
    columns = ("number", "omega", "sampler", "fid/all", "fid/few", "feasible", "front")
    lines = [",".join(columns), *(",".join(str(row[c]) for c in columns) for row in complete)]
    (directory / "front.csv").write_text("\n".join(lines) + "\n")


def _write_confirmation(directory: Path, rows: list[dict[str, Any]]) -> None:
    seeds = [101, 102, 103]
    leaders = []
    for place, number in enumerate((1, 13)):
        for index in range(len(seeds)):
            folder = directory / "confirm" / f"t{number:03d}-s{index}"
            (folder / "scores").mkdir(parents=True)
            key = f"c{number:02d}{index:013x}"
            _write_training(directory, key, [FINAL], TRUNK, {})
            (folder / "training").symlink_to(Path("../../..") / "checkpoints" / key)
            card = {"seconds": SECONDS}
            (folder / "scores" / f"images_{FINAL:012d}.json").write_text(json.dumps(card))
        found = [-2.4 + place * 1.9 + shift for shift in (-0.3, 0.1, 0.4)]
        leaders.append(
            {
                "trial": number,
                "name": f"t{number:03d} reciprocal",
                "differences": found,
                "mean": sum(found) / 3,
                "low": sum(found) / 3 - 0.9,
                "high": sum(found) / 3 + 0.9,
                "values": [46.0 + x for x in found],
            }
        )
    content = {
        "seeds": seeds,
        "omega": {"t000": 0.5, "t001": 1.0, "t013": 1.0},
        "alpha": 0.05,
        "leaders": leaders,
        "baseline": {"trial": 0, "values": [46.0, 46.2, 45.9]},
        "objective": "fid/all",
        "num_samples": FULL,
        "conditional_on_prefix": True,
        "verdict": "t001 is better than the baseline on fresh seeds.",
        "best": 1,
    }
    (directory / "confirm.json").write_text(json.dumps(content))
