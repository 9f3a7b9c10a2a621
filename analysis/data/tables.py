"""Parses the files of a study into typed tables, whose columns `analysis.data.load` explains."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.data.folders import confirmation_folders, training_folder, trial_folder

SHOT_GROUPS = ("many", "medium", "few")
GROUPS = ("all", *SHOT_GROUPS)

REQUIRED = ("number", "state", "baseline", "value")
TEXT = (
    "name",
    "state",
    "form",
    "sampler",
    "extractor",
    "reference",
    "message",
    "parent",
    "training_key",
)
FLAGS = ("feasible", "front")
WHOLE = (
    "number",
    "rank",
    "images_seen",
    "rung",
    "audited_at",
    "samples_drawn",
    *(f"num_samples/{name}" for name in GROUPS),
)
REAL = (
    "tau_0",
    "decay_temperature",
    "margin",
    "value",
    "value_low",
    "value_high",
    "omega",
    "difference_value",
    "difference_low",
    "difference_high",
    "duration_s",
    "training_s",
    "scoring_s",
    "gpus",
    *(f"fid/{name}" for name in GROUPS),
)

MEASUREMENT_TYPES = {
    "study": "str",
    "number": "int64",
    "form": "str",
    "state": "str",
    "images_seen": "int64",
    "final": "bool",
    "omega": "float64",
    "score": "str",
    "value": "float64",
    "num_samples": "Int64",
    "round_samples": "Int64",
    "sampler": "str",
    "extractor": "str",
    "reference": "str",
}
CURVE_TYPES = {
    "study": "str",
    "number": "int64",
    "images_seen": "int64",
    "measure": "str",
    "value": "float64",
}
COST_TYPES = {
    "study": "str",
    "number": "Int64",
    "purpose": "str",
    "part": "str",
    "seconds": "float64",
    "workers": "float64",
    "gpus": "float64",
}
PURPOSES = {"COMPLETE": "full", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
"""What the time of a trial in each state was spent on."""
SCORING_PARTS = ("sampling", "features", "metrics")


def read_trials(path: Path, study: str, base_form: str) -> pd.DataFrame:
    """Read trials.csv.

    Args:
        path: the file.
        study: name for the column `study`.
        base_form: form of trials whose form was not searched.

    Raises:
        ValueError: it is no table of trials.
    """
    try:
        trials = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    return typed_trials(trials, study, base_form, path)


def typed_trials(trials: pd.DataFrame, study: str, base_form: str, source: object) -> pd.DataFrame:
    """Give a table of texts the columns and types of `StudyResults.trials`.

    Raises:
        ValueError: a column is missing or holds what it must not; the sentence names `source`.
    """
    missing = [name for name in REQUIRED if name not in trials]
    if missing:
        raise ValueError(f"{source} has no column {missing[0]!r}, so it is no table of trials")
    for name in (*TEXT, *WHOLE, *REAL, *FLAGS):
        if name not in trials:
            trials[name] = ""
    for name in trials.columns.difference([*TEXT, *FLAGS, "baseline"]):
        trials[name] = _numbers(trials[name], source)
    for name in ("baseline", *FLAGS):
        trials[name] = _flags(trials[name])
    trials["baseline"] = trials["baseline"].fillna(False).astype(bool)
    trials["front"] = trials["front"].fillna(False).astype(bool)
    # A form that is not searched is that of the base experiment, except for the baseline's.
    trials["form"] = trials["form"].where(~trials["form"].isin(["", "-"]), base_form)
    trials["form"] = trials["form"].where(~trials["baseline"], "none")
    if trials["number"].isna().any() or trials["number"].duplicated().any():
        raise ValueError(f"{source} has trials without a number of their own")
    trials.insert(0, "study", study)
    return trials.astype({"number": "int64"}).sort_values("number", ignore_index=True)


def _flags(column: pd.Series) -> pd.Series:
    """Return "True", "1", "False", "0" and what is neither as True, False and NA."""
    texts = column.astype(str).str.lower()
    known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    return texts.map(known).astype("boolean")


def _numbers(column: pd.Series, source: object) -> pd.Series:
    """Return a column of trials.csv as Int64, float64, or as it is for other searched keys."""
    name = str(column.name)
    known = name in WHOLE or name in REAL or "/" in name
    try:
        numbers = pd.to_numeric(column.where(column != ""))
        whole = name in WHOLE or name.startswith("num_samples/")
        return numbers.astype("Int64") if whole else numbers.astype("float64")
    except (ValueError, TypeError) as error:
        if known:
            raise ValueError(f"column {name!r} of {source} holds more than numbers") from error
        return column


def read_measurements(directory: Path, trials: pd.DataFrame) -> pd.DataFrame:
    """Read the score files of all trials.

    Raises:
        ValueError: one of them is damaged.
    """
    rows: list[dict[str, Any]] = []
    for trial in trials.to_dict("records"):
        folder = trial_folder(directory, trial["number"]) / "scores"
        for path in sorted(folder.glob("images_*.json")):
            score = read_json(path)
            try:
                rows.extend(_score_rows(trial, score))
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{path} is no score file ({error!r})") from error
    return as_typed(rows, MEASUREMENT_TYPES)


def _score_rows(trial: dict[Any, Any], score: dict[str, Any]) -> Iterator[dict[str, Any]]:
    shared = {key: trial[key] for key in ("study", "number", "form", "state")}
    protocol = ("images_seen", "final", "sampler", "extractor", "reference")
    shared |= {key: score[key] for key in protocol}
    counts, whole = score["num_samples"], score["num_samples"].get("all")
    for point in score["curve"]:
        drawn = point.get("num_samples", whole)  # format 2 draws as many at each omega
        for name, value in point["scores"].items():
            count = counts.get(name.rpartition("/")[2])
            yield {
                **shared,
                "omega": point["omega"],
                "sampler": point.get("sampler", score["sampler"]),
                "score": name,
                "value": value,
                # Groups of a round with fewer samples have the same shares of them.
                "num_samples": count if drawn == whole else round_count(count, drawn, whole),
                "round_samples": drawn,
            }


def round_count(count: int | None, drawn: int | None, whole: int | None) -> int | None:
    """Return how many of `drawn` samples a group has that has `count` of `whole`."""
    if not count or not drawn or not whole:
        return None
    return round(count * drawn / whole)


def read_curves(directory: Path, trials: pd.DataFrame) -> pd.DataFrame:
    """Read what all trials logged while they trained.

    A pruned trial's curve ends where it was stopped: the store may hold a longer training of the
    same settings, which another trial went on with.
    """
    rows = []
    for trial in trials.to_dict("records"):
        ends = trial["state"] == "PRUNED" and pd.notna(trial["rung"])
        for row in _curve_rows(_curve_file(trial_folder(directory, trial["number"]))):
            if not ends or row["images_seen"] <= trial["rung"]:
                rows.append({"study": trial["study"], "number": trial["number"], **row})
    curves = as_typed(rows, CURVE_TYPES)
    # A trial resumed from a checkpoint logs some steps twice; the later line is the one it kept.
    unique = curves.drop_duplicates(["number", "images_seen", "measure"], keep="last")
    return unique.reset_index(drop=True)


def _curve_file(trial: Path) -> Path:
    linked = training_folder(trial) / "metrics.jsonl"
    return linked if linked.is_file() else trial / "metrics.jsonl"


def _curve_rows(path: Path) -> Iterator[dict[str, Any]]:
    for row in read_lines(path):
        if type(seen := row.get("images_seen")) is not int:
            continue
        for name, value in row.items():
            if name not in ("images_seen", "time") and type(value) in (int, float):
                yield {"images_seen": seen, "measure": name, "value": float(value)}


def read_costs(directory: Path, trials: pd.DataFrame) -> pd.DataFrame:
    """Read how long each training and each of its scores took, and on how much hardware.

    A training that several trials share, such as the trunk of a fork, is counted once, without a
    number.
    """
    folders: dict[Path, list[tuple[int, str]]] = {}
    rows: list[dict[str, Any]] = []
    for trial in trials.to_dict("records"):
        purpose = PURPOSES.get(trial["state"], "running")
        folder = trial_folder(directory, trial["number"])
        stretches = _stretches(training_folder(folder))
        if stretches:
            key = training_folder(folder).resolve()
            folders.setdefault(key, []).append((trial["number"], purpose))
        who = {"number": trial["number"], "purpose": purpose}
        rows.extend(who | row for row in _trial_costs(trial, folder, stretches))
    for number, folder in confirmation_folders(directory):
        folders.setdefault(training_folder(folder).resolve(), []).append((number, "confirmation"))
        hardware = _hardware(_stretches(training_folder(folder)))
        who = {"number": number, "purpose": "confirmation"}
        rows.extend(who | row for row in _scoring_costs(folder, hardware))
    for folder in _ancestors(folders):
        folders[folder] = []
    for folder, owners in folders.items():
        owner: dict[str, Any] = {"number": None, "purpose": "shared training"}
        if len(owners) == 1:
            owner |= {"number": owners[0][0], "purpose": owners[0][1]}
        owner["part"] = "training"
        for stretch in _stretches(folder):
            rows.append(owner | _hardware([stretch]) | {"seconds": stretch["seconds"]})
    name = str(trials["study"].iloc[0]) if len(trials) else ""
    return as_typed([{"study": name, **row} for row in rows], COST_TYPES)


def _trial_costs(
    trial: dict[Any, Any], folder: Path, stretches: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield a trial's costs, without its training where its stretches are known."""
    gpus = 0.0 if pd.isna(trial["gpus"]) else float(trial["gpus"])
    hardware = _hardware(stretches) if stretches else {"workers": 1.0, "gpus": gpus}
    scoring = list(_scoring_costs(folder, hardware))
    if not scoring and trial["scoring_s"] > 0:
        scoring = [{"part": "scoring", "seconds": trial["scoring_s"], **hardware}]
    yield from scoring
    if stretches:
        return
    if trial["training_s"] > 0:
        yield {"part": "training", "seconds": trial["training_s"], **hardware}
    elif not scoring and pd.notna(trial["duration_s"]):
        yield {"part": "not split", "seconds": trial["duration_s"], **hardware}


def _scoring_costs(folder: Path, hardware: dict[str, float]) -> Iterator[dict[str, Any]]:
    for path in sorted((folder / "scores").glob("images_*.json")):
        seconds = read_json(path).get("seconds")
        if isinstance(seconds, dict):
            for part in SCORING_PARTS:
                if type(seconds.get(part)) in (int, float):
                    yield {"part": part, "seconds": seconds[part], **hardware}


def _hardware(stretches: list[dict[str, Any]]) -> dict[str, float]:
    last = stretches[-1] if stretches else {}
    return {"workers": float(last.get("workers") or 1), "gpus": float(last.get("gpus") or 0)}


def _stretches(training: Path) -> list[dict[str, Any]]:
    """Return the rows of a training's cost.jsonl."""
    rows = read_lines(training / "cost.jsonl")
    return [row for row in rows if type(row.get("seconds")) in (int, float)]


def _ancestors(trainings: Iterable[Path]) -> list[Path]:
    """Return the trainings that others started from and that no trial has as its own."""
    known, found = set(trainings), []
    waiting = list(known)
    while waiting:
        folder = waiting.pop()
        card = folder / "training.json"
        parent = read_json(card).get("parent") if card.is_file() else None
        source = _training_of(folder.parent, parent) if isinstance(parent, str) else None
        if source is not None and source not in known:
            known.add(source)
            found.append(source)
            waiting.append(source)
    return sorted(found)


def _training_of(store: Path, checkpoint_key: str) -> Path | None:
    """Return the training in the store that a checkpoint key, KEY-IMAGES, belongs to."""
    folder = store / checkpoint_key.rpartition("-")[0]
    return folder if folder.is_dir() else None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the mappings of a JSON-lines file; [] without one."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # a killed trial leaves a torn line
        if isinstance(row, dict):
            rows.append(row)
    return rows


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Raises:
        ValueError: it cannot be read or holds something else.
    """
    try:
        return mapping(json.loads(path.read_text(encoding="utf-8")), path)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def mapping(value: Any, name: object) -> dict[str, Any]:
    """Return `value`; ValueError unless it is a mapping."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a mapping, so this is no study")
    return value


def as_typed(rows: list[dict[str, Any]], types: dict[str, str]) -> pd.DataFrame:
    """Return rows as a frame with these columns and types, also without a row."""
    return pd.DataFrame(rows, columns=list(types)).astype(types)
