"""The tables of a study: trials.csv and front.csv, and tidy frames of scores, curves and costs.

`diffrop.analysis.data.load` says what the columns of the frames mean.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diffrop.csv_cells import csv_text, plain_frame
from diffrop.record.cost_account import CostEntry
from diffrop.record.kinds import name_damage
from diffrop.record.score_card import ScoreCard
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trainings import STEP_KEYS
from diffrop.shot_groups import GROUPS, SHOT_GROUPS
from diffrop.storage import write_atomically
from diffrop.study.objectives import FrontPoint

if TYPE_CHECKING:
    from diffrop.record.results import StudyResult

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
FLAGS = ("feasible", "front", "from_prior")
WHOLE = (
    "number",
    "rank",
    "images_seen",
    "rung",
    "audited_at",
    "evaluations",
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
    *(f"difference_{end}" for end in ("value", "low", "high")),
    *(f"difference_{end}/fid/{name}" for name in SHOT_GROUPS for end in ("value", "low", "high")),
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
    "evaluations": "Int64",
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
    "samples": "int64",
}
PURPOSES = {"COMPLETE": "full", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
"""What the time of a trial in each state was spent on."""
FRONT_COLUMNS = ("number", "omega", "sampler", "feasible", "front")
FRONT_PROTOCOL = ("num_samples", "extractor", "reference", "images_seen")
"""Columns of front.csv that those of earlier versions have not."""


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
        _check_whole(path)
        trials = plain_frame(pd.read_csv(path, dtype=str, keep_default_na=False))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    known = [*TEXT, *WHOLE, *REAL, *FLAGS]
    absent = [name for name in known if name not in trials and "/" not in name]
    typed = typed_trials(trials, study, base_form, path)
    if absent:
        name_damage(path, f"it has no column {', '.join(absent)}")
    return typed


def _check_whole(path: Path) -> None:
    """Raise ValueError if a table is cut: it ends amid a row, or rows differ in length."""
    text = path.read_text("utf-8")
    try:
        rows = list(csv.reader(io.StringIO(text)))
    except csv.Error as error:
        raise ValueError(f"it is no table: {error}") from error
    if not text.endswith("\n") or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("it is cut or no table")


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
    for name in ("baseline", "front", "from_prior"):
        trials[name] = trials[name].fillna(False).astype(bool)
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


def write_trials(folder: StudyFolder, result: "StudyResult") -> Path:
    """Write trials.csv and return its path."""
    write_atomically(folder.trials_table, csv_text(result.frame))
    return folder.trials_table


def write_front(folder: StudyFolder, points: Sequence[FrontPoint], names: Iterable[str]) -> Path:
    """Write front.csv: each point with the scores of these names; return its path."""
    frame = front_frame(points, list(dict.fromkeys(names)))
    write_atomically(folder.front_table, csv_text(frame))
    return folder.front_table


def front_frame(points: Sequence[FrontPoint], names: Sequence[str]) -> pd.DataFrame:
    """Return a row a point: what it is, how it was scored, a column a score, feasible, front."""
    rows = [
        {name: getattr(point, name) for name in (*FRONT_COLUMNS, *FRONT_PROTOCOL)}
        | {name: point.scores[name] for name in names}
        for point in points
    ]
    columns = ["number", "omega", "sampler", *FRONT_PROTOCOL, *names, "feasible", "front"]
    return pd.DataFrame(rows, columns=columns).astype({"feasible": object, "front": bool})


def read_front(path: Path) -> pd.DataFrame | None:
    """Read front.csv, None without it.

    Raises:
        ValueError: it cannot be read, or is no Pareto front.
    """
    if not os.path.lexists(path):
        return None
    try:
        _check_whole(path)
        front = plain_frame(pd.read_csv(path, keep_default_na=False, na_values=[""]))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    missing = [name for name in FRONT_COLUMNS if name not in front]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]!r}, so it is no Pareto front")
    flags = {name: _flags(front[name]) for name in ("feasible", "front")}
    return front.assign(**(flags | {"front": flags["front"].fillna(False).astype(bool)}))


def measurements_frame(folder: StudyFolder, trials: pd.DataFrame) -> pd.DataFrame:
    """Return every score of all trials, at each sampling choice and in each round.

    A warning names score files that are damaged.
    """
    rows: list[dict[str, Any]] = []
    for trial in trials.to_dict("records"):
        for card in folder.trial(trial["number"]).scores():
            rows.extend(_score_rows(trial, card))
    return _as_typed(rows, MEASUREMENT_TYPES)


def _score_rows(trial: dict[Any, Any], card: ScoreCard) -> Iterator[dict[str, Any]]:
    shared = {key: trial[key] for key in ("study", "number", "form", "state")}
    shared |= {"images_seen": card.images_seen, "final": card.final}
    shared |= {"extractor": card.extractor, "reference": card.reference}
    whole = card.num_samples["all"]
    for point in card.curve:
        for name, value in point.scores.items():
            count = card.num_samples.get(name.rpartition("/")[2])
            # Groups of a round with fewer samples have the same shares of them.
            share = None if count is None else round(count * point.num_samples / whole)
            yield {
                **shared,
                "omega": point.omega,
                "sampler": point.sampler,
                "evaluations": point.evaluations,
                "score": name,
                "value": value,
                "num_samples": share,
                "round_samples": point.num_samples,
            }


def curves_frame(
    folder: StudyFolder, trials: pd.DataFrame, log_every_images: int | None, end: int
) -> pd.DataFrame:
    """Return what all trials logged while they trained, each up to where the trial came.

    Args:
        folder: of the study.
        trials: its table.
        log_every_images: the study's interval; see `StoredTraining.curves`.
        end: images of a full training.
    """
    rows = []
    for trial in trials.to_dict("records"):
        stopped = trial["state"] == "PRUNED" and pd.notna(trial["rung"])
        training = folder.trial(trial["number"]).training()
        for row in training.curves(log_every_images, trial["rung"] if stopped else end):
            rows += [
                {
                    "study": trial["study"],
                    "number": trial["number"],
                    "images_seen": row["images_seen"],
                    "measure": name,
                    "value": float(value),
                }
                for name, value in row.items()
                if name not in STEP_KEYS and type(value) in (int, float)
            ]
    return _as_typed(rows, CURVE_TYPES)


def costs_frame(entries: Iterable[CostEntry], trials: pd.DataFrame) -> pd.DataFrame:
    """Return a study's cost account as a frame, each entry with what it was spent on."""
    states = dict(zip(trials["number"], trials["state"], strict=True))
    name = str(trials["study"].iloc[0]) if len(trials) else ""
    rows = [
        {
            "study": name,
            "number": entry.number,
            "purpose": _purpose(entry, states),
            "part": entry.part,
            "seconds": entry.seconds,
            "workers": entry.workers,
            "gpus": entry.gpus,
            "samples": entry.samples,
        }
        for entry in entries
    ]
    return _as_typed(rows, COST_TYPES)


def _purpose(entry: CostEntry, states: dict[int, str]) -> str:
    if entry.kind == "prefix" or entry.number is None:
        return "shared training"
    if entry.kind == "retraining":
        return "confirmation"
    return PURPOSES.get(states.get(entry.number, ""), "running")


def _as_typed(rows: list[dict[str, Any]], types: dict[str, str]) -> pd.DataFrame:
    """Return rows as a frame with these columns and types, also without a row."""
    return pd.DataFrame(rows, columns=list(types)).astype(types)
