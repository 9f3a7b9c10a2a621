"""What a study did cost, beside what was planned."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffrop.cost.budget import scorings, stretches, training_folder, units_per_trial
from diffrop.cost.plan import fork_start
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.training.store import WEIGHTS


def actual_cost(
    study: Path, config: StudyConfig, launch: LaunchConfig, wall_s: float, since: float = 0.0
) -> dict[str, Any]:
    """Return what a study did cost, by the same names as `Plan.to_dict`.

    Args:
        study: its folder.
        config: its rungs.
        launch: workers, price.
        wall_s: of this launch, or of all if they are known.
        since: trainings of the store that ended before are not this study's.
    """
    units = units_per_trial(launch)
    trials = sorted((study / "trials").glob("t*"))
    ends = [rung.images for rung in config.rungs]
    rungs = [
        {
            "images": rung.images,
            "num_samples": rung.num_samples,
            "num_steps": rung.num_steps,
            **_nothing(),
        }
        for rung in config.rungs
    ]
    unit_s, counted = 0.0, set()
    shared = {"prefix": _nothing(), "confirm": _nothing()}
    prefixes, points = (sorted((study / name).glob("*-*")) for name in shared)
    fork = fork_start(config)[0]
    for trial in (*prefixes, *trials, *points):
        # A baseline goes on with the very training that is the prefix of the others.
        until = fork if trial.parent.name == "prefix" else float("inf")
        for key, stretch in stretches(training_folder(trial), until):
            if (key, stretch) in counted or stretch.time < since:
                continue
            counted.add((key, stretch))
            unit_s += stretch.seconds * stretch.units
            place = next((i for i, end in enumerate(ends) if stretch.end <= end), len(ends) - 1)
            part: dict[str, Any] = shared.get(trial.parent.name, rungs[place])
            part["training_s"] += stretch.seconds
            part["trained"] += stretch.end - stretch.begin
        for scoring in scorings(trial):
            unit_s += scoring.seconds * units
            place = ends.index(scoring.images) if scoring.images in ends else len(ends) - 1
            part = shared.get(trial.parent.name, rungs[place])
            part["scoring_s"] += scoring.seconds
            part["samples"] += scoring.samples
            part["trials"] += 1
    parts = [*rungs, *shared.values()]
    hours, price = unit_s / 3600, launch.price_per_gpu_hour
    folders = {training_folder(trial) for trial in (*prefixes, *trials, *points)}
    sizes = [path.stat().st_size for folder in folders for path in folder.glob(WEIGHTS)]
    return {
        "rungs": rungs,
        "prefix": shared["prefix"] if prefixes else None,
        "confirm": shared["confirm"] if points else None,
        "trials": len(trials),
        "gpu_hours": hours if launch.gpus_per_worker else 0.0,
        "worker_hours": None if launch.gpus_per_worker else hours,
        "wall_s": wall_s,
        "samples": sum(part["samples"] for part in parts),
        "images": sum(part["trained"] for part in parts),
        "memory_mib": None,
        "disk_mib": sum(sizes) / 2**20,
        "cost": None if price is None else price * hours,
        "price_per_gpu_hour": price,
    }


def _nothing() -> dict[str, Any]:
    return {"trials": 0, "training_s": 0.0, "scoring_s": 0.0, "samples": 0, "trained": 0}


def comparison(plan: Mapping[str, Any], fact: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return rows of (what, planned, actual) for the terminal and the report."""
    hours = "GPU-hours" if plan["gpu_hours"] else "worker-hours"
    key = "gpu_hours" if plan["gpu_hours"] else "worker_hours"
    rows = [
        (f"trials at {rung['images']:,} images", f"{rung['trials']:.3g}", f"{done['trials']:,}")
        for rung, done in zip(plan["rungs"], fact["rungs"], strict=True)
    ]
    if plan["confirm"] or fact["confirm"]:
        planned, done = (found["confirm"] or _nothing() for found in (plan, fact))
        rows.append(("trainings to confirm", f"{planned['trials']:,}", f"{done['trials']:,}"))
    rows += [
        (name, _amount(plan[field], form), _amount(fact[field], form))
        for name, field, form in (
            (hours, key, ".3g"),
            ("on the clock, s", "wall_s", ",.0f"),
            ("images trained", "images", ",.0f"),
            ("images sampled", "samples", ",.0f"),
            ("checkpoints, MiB", "disk_mib", ",.1f"),
            ("cost", "cost", ",.2f"),
        )
        if plan[field] is not None or fact[field] is not None
    ]
    return rows


def _amount(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
