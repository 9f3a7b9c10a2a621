"""Reads a study from an MLflow server or database into the same frames as its folder gives."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.data.load import StudyResults
from analysis.data.search_study import COLUMNS
from analysis.data.tables import GROUPS, as_typed, round_count
from diffrop.record.tables import COST_TYPES, CURVE_TYPES, MEASUREMENT_TYPES, typed_trials

if TYPE_CHECKING:
    from diffrop.tracking.reader import StoredTrial

OMEGA_CURVE = re.compile(r"omega_curve(?:_at_(\d+))?/(.+)")
"""A score over omega, with the N of its round where that is not the full one."""
OMEGA_STEPS = 1000
"""MLflow's steps are whole numbers: those of an omega curve are thousandths of omega."""
RUNG = "rung/"
"""Before the name of a score at the rung whose images seen are its step."""
SCORED = "score"
CURVE_PREFIXES = ("loss/", "pcl/", "grad_norm", "images_per_s")
PROTOCOL = ("sampler", "extractor", "reference")
UNKNOWN = "not in MLflow"


def load_tracked(
    uri: str, study: str, *, settings: dict[str, Any] | None = None, directory: Path | None = None
) -> StudyResults:
    """Read a study that was mirrored into MLflow.

    What MLflow does not hold is empty: costs, reference scores, the front, the intervals, and
    the omegas that were tried at rungs before a trial's last. Sampler, extractor and reference
    are read from tags of the trials or of the launch; without, they read "sampler not in MLflow".

    Args:
        uri: sqlite:////absolute/path.db, http(s)://host:port or postgresql://user@host/name.
        study: its name, that of the experiment in MLflow.
        settings: study.yaml's content, if it is at hand, for captions that name the data set.
        directory: where figures would go; a folder of the study's name here, if None.

    Raises:
        ValueError: the server does not answer, or has no such study.
    """
    from diffrop.tracking.reader import read_study

    found = read_study(uri, study)
    if not found.trials:
        raise ValueError(f"study {study!r} has no trials in MLflow yet")
    stored = [replace(trial, tags=found.tags | trial.tags) for trial in found.trials]
    known = {"data": {"dataset": found.tags.get("dataset")}}
    config = settings or {"name": study, "experiment": known, "space": _space(stored)}
    table = pd.DataFrame([_trial_row(trial) for trial in stored]).fillna("").astype(str)
    trials = typed_trials(table, study, "", f"study {study!r} in MLflow")
    scored = [row for trial in stored for row in _measurements(study, trial)]
    curves = [row for trial in stored for row in _curves(study, trial)]
    return StudyResults(
        directory=Path(study) if directory is None else directory,
        config=config,
        trials=_with_baseline_difference(trials),
        measurements=as_typed(scored, MEASUREMENT_TYPES),
        curves=as_typed(curves, CURVE_TYPES),
        costs=as_typed([], COST_TYPES),
    )


def _space(stored: "list[StoredTrial]") -> list[dict[str, Any]]:
    """Return the searched parameters as far as the trials show them: choices, or their range."""
    values: dict[str, list[str]] = {}
    for trial in stored:
        for key, value in trial.params.items():
            values.setdefault(key, []).append(value)
    space: list[dict[str, Any]] = []
    for key, found in values.items():
        try:
            numbers = [float(value) for value in found]
        except ValueError:
            space.append({"name": key, "choices": sorted(set(found) - {"none"})})
        else:
            wide = min(numbers) > 0 and max(numbers) > 5 * min(numbers)
            space.append({"name": key, "low": min(numbers), "high": max(numbers), "log": wide})
    return space


def _trial_row(trial: "StoredTrial") -> dict[str, Any]:
    """Return a trial as a row of trials.csv."""
    last = _last_score(trial)
    form = trial.params.get("contrastive.form") or trial.tags.get("form", "")
    row: dict[str, Any] = {
        "number": trial.number,
        "name": trial.name,
        "state": trial.state,
        "form": form,
        "baseline": trial.number == 0,
        "message": trial.tags.get("message", ""),
        "value": "",
        "duration_s": "" if trial.duration_s is None else trial.duration_s,
    }
    row |= {COLUMNS.get(key, key): value for key, value in trial.params.items()}
    if last is None:
        return row
    seen, scores = last
    row |= {name: value for name, value in scores.items() if name != SCORED}
    row |= {
        f"num_samples/{g}": int(scores[f"num_samples/{g}"])
        for g in GROUPS
        if f"num_samples/{g}" in scores
    }
    row |= {name: trial.tags.get(name) or f"{name} {UNKNOWN}" for name in PROTOCOL}
    return row | {"value": scores[SCORED], "images_seen": seen, "rung": seen}


def _scores_by_step(trial: "StoredTrial") -> dict[int, dict[str, float]]:
    """Return what was logged at each scored rung, by images seen; without the omega curve."""
    steps = sorted({step for key, step, _ in trial.history if key == RUNG + SCORED})
    found: dict[int, dict[str, float]] = {step: {} for step in steps}
    for key, step, value in trial.history:
        if step in found and key.startswith(RUNG):
            found[step][key.removeprefix(RUNG)] = value
    return found


def _last_score(trial: "StoredTrial") -> tuple[int, dict[str, float]] | None:
    scores = _scores_by_step(trial)
    return max(scores.items()) if scores else None


def _measurements(study: str, trial: "StoredTrial") -> list[dict[str, Any]]:
    """Return the scores at the best omega of every rung, and the last one's omega curve."""
    shared = {
        "study": study,
        "number": trial.number,
        "state": trial.state,
        "form": trial.params.get("contrastive.form") or trial.tags.get("form", ""),
    }
    shared |= {name: trial.tags.get(name) or f"{name} {UNKNOWN}" for name in PROTOCOL}
    by_step = _scores_by_step(trial)
    end = max(by_step, default=0)
    rows = []
    for seen, scores in by_step.items():
        final = trial.state == "COMPLETE" and seen == end
        of_rung = shared | {"images_seen": seen, "final": final}
        whole, best = _count(scores, "all"), scores.get("omega", float("nan"))
        curve = _omega_curve(trial, whole) if seen == end else []
        known = {(omega, name) for drawn, omega, name, _ in curve if drawn == whole}
        at_best = [
            (whole, best, name, value)
            for name, value in scores.items()
            if name.partition("/")[2] in GROUPS
            and not name.startswith("num_samples/")
            and (best, name) not in known
        ]
        for drawn, omega, name, value in [*curve, *at_best]:
            count = _count(scores, name.rpartition("/")[2])
            point = {"omega": omega, "score": name, "value": value, "round_samples": drawn}
            count = count if drawn == whole else round_count(count, drawn, whole)
            rows.append(of_rung | point | {"num_samples": count})
    return rows


def _omega_curve(
    trial: "StoredTrial", whole: int | None
) -> list[tuple[int | None, float, str, float]]:
    """Return N over all classes, omega, score and value of every round of the last search."""
    found = []
    for key, step, value in trial.history:
        if match := OMEGA_CURVE.match(key):
            drawn = int(match[1]) if match[1] else whole
            found.append((drawn, step / OMEGA_STEPS, match[2], value))
    return found


def _count(scores: dict[str, float], group: str) -> int | None:
    found = scores.get(f"num_samples/{group}")
    return None if found is None else int(found)


def _curves(study: str, trial: "StoredTrial") -> list[dict[str, Any]]:
    return [
        {
            "study": study,
            "number": trial.number,
            "images_seen": step,
            "measure": key,
            "value": value,
        }
        for key, step, value in trial.history
        if key.startswith(CURVE_PREFIXES)
    ]


def _with_baseline_difference(trials: pd.DataFrame) -> pd.DataFrame:
    """Add the difference to the baseline, whose interval MLflow does not have."""
    baseline = trials.loc[trials["baseline"] & (trials["state"] == "COMPLETE"), "value"]
    if baseline.empty:
        return trials
    complete = (trials["state"] == "COMPLETE") & ~trials["baseline"]
    return trials.assign(difference_value=(trials["value"] - baseline.iloc[0]).where(complete))
