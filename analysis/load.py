"""Reads a study's folder into tidy frames; it trains nothing and needs neither ray nor torch."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from diffrop.schema import flatten, load_yaml

FORMAT = 3
CURVES = "training/metrics.jsonl"
"""In a trial's folder, which links to its training's."""
SHOT_GROUPS = ("many", "medium", "few")
GROUPS = ("all", *SHOT_GROUPS)

REQUIRED = ("number", "state", "baseline", "value")
TEXT = ("name", "state", "form", "sampler", "extractor", "reference", "message")
WHOLE = ("number", "rank", "images_seen", "rung", *(f"num_samples/{name}" for name in GROUPS))
REAL = (
    "tau_0", "decay_temperature", "margin", "value", "value_low", "value_high", "omega",
    "difference_value", "difference_low", "difference_high", "duration_s",
    *(f"fid/{name}" for name in GROUPS),
)  # fmt: skip

MEASUREMENT_TYPES = {
    "number": "int64", "form": "str", "state": "str", "images_seen": "int64", "final": "bool",
    "omega": "float64", "score": "str", "value": "float64", "num_samples": "Int64",
    "sampler": "str", "extractor": "str", "reference": "str",
}  # fmt: skip
CURVE_TYPES = {
    "number": "int64", "images_seen": "int64", "measure": "str", "value": "float64",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class StudyResults:
    """All that a study left on disk."""

    directory: Path
    config: dict[str, Any]
    """study.yaml: what was searched, from which experiment."""
    trials: pd.DataFrame
    """One row a trial, by number. Text columns hold "" and numbers NaN or NA where trials.csv is
    empty. `value` is the objective at the trial's best `omega`, of its last score; `images_seen`
    and `rung` count images, `num_samples/GROUP` generated images, `duration_s` seconds.
    `value_low` and `value_high` end the 95 % interval of `value` over samples; `difference_*` is
    `value` less the baseline's, paired over samples, with its interval."""
    measurements: pd.DataFrame
    """One row a trial, rung, omega and score: number, form, state, images_seen, final (False on
    a rung below the last), omega, score ("fid/few"), value, num_samples (images behind that very
    score), sampler, extractor."""
    curves: pd.DataFrame
    """One row a trial, time and training measure: number, images_seen, measure
    ("pcl/grad_ratio"), value."""
    anchors: dict[str, Any]
    """Scores of pure noise and of real images; empty where the study has none."""
    best: dict[str, Any]
    """best.yaml: the exported configuration with its provenance; empty before the export."""

    @property
    def objective(self) -> str:
        """The score that ranks the trials, such as "fid/all"; lower is better."""
        return str((self.setting("evaluation.objectives") or ["fid/all"])[0])

    @property
    def space(self) -> list[dict[str, Any]]:
        """What was searched: one entry a parameter, with name, choices or low and high, source."""
        space = self.config.get("space") or []
        return list(space.get("parameters") or []) if isinstance(space, dict) else list(space)

    def folder(self, number: int) -> Path:
        """Return the folder of one trial."""
        return trial_folder(self.directory, number)

    def setting(self, key: str) -> Any:
        """Return one value of the study's base experiment by its dotted key, None if not there."""
        return flatten(self.config["experiment"]).get(key)


def trial_folder(directory: Path, number: int) -> Path:
    """Return a trial's folder in a study's; its name is the trial's short name, such as t007."""
    return directory / "trials" / f"t{number:03d}"


def load_study(directory: Path) -> StudyResults:
    """Read a study's folder.

    Raises:
        ValueError: the folder is no study, or one of its files cannot be read.
    """
    directory = Path(directory)
    config = _study_config(directory)
    base_form = flatten(config["experiment"]).get("contrastive.form")
    trials = _trials(directory / "trials.csv", str(base_form or ""))
    anchors, best = directory / "anchors.json", directory / "best.yaml"
    return StudyResults(
        directory=directory,
        config=config,
        trials=trials,
        measurements=_measurements(directory, trials),
        curves=_curves(directory, trials),
        anchors=_read_json(anchors) if anchors.is_file() else {},
        best=_mapping(load_yaml(best), best) if best.is_file() else {},
    )


def _study_config(directory: Path) -> dict[str, Any]:
    path = directory / "study.yaml"
    if not path.is_file():
        raise ValueError(f"{directory} is no study: it holds no study.yaml")
    config = _mapping(load_yaml(path), path)
    if config.get("format") != FORMAT:
        raise ValueError(f"{path} has format {config.get('format')!r}; allowed: {FORMAT}")
    _mapping(config.get("experiment"), f"experiment of {path}")
    if not (directory / "trials.csv").is_file():
        raise ValueError(f"{directory} has no results yet: it holds no trials.csv")
    return config


def _trials(path: Path, base_form: str) -> pd.DataFrame:
    try:
        trials = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    missing = [name for name in REQUIRED if name not in trials]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]!r}, so it is no table of trials")
    for name in (*TEXT, *WHOLE, *REAL):
        if name not in trials:
            trials[name] = ""
    for name in trials.columns.difference([*TEXT, "baseline"]):
        trials[name] = _numbers(trials[name], path)
    trials["baseline"] = trials["baseline"].str.lower().isin(["true", "1"])
    # A form that is not searched is that of the base experiment, except for the baseline's.
    trials["form"] = trials["form"].where(~trials["form"].isin(["", "-"]), base_form)
    trials["form"] = trials["form"].where(~trials["baseline"], "none")
    if trials["number"].isna().any() or trials["number"].duplicated().any():
        raise ValueError(f"{path} has trials without a number of their own")
    return trials.astype({"number": "int64"}).sort_values("number", ignore_index=True)


def _numbers(column: pd.Series, path: Path) -> pd.Series:
    """Return a column of trials.csv as Int64, float64, or as it is for other searched keys."""
    name = str(column.name)
    known = name in WHOLE or name in REAL or "/" in name
    try:
        numbers = pd.to_numeric(column.where(column != ""))
        whole = name in WHOLE or name.startswith("num_samples/")
        return numbers.astype("Int64") if whole else numbers.astype("float64")
    except (ValueError, TypeError) as error:
        if known:
            raise ValueError(f"column {name!r} of {path} holds more than numbers") from error
        return column


def _measurements(directory: Path, trials: pd.DataFrame) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for trial in trials.to_dict("records"):
        folder = trial_folder(directory, trial["number"]) / "scores"
        for path in sorted(folder.glob("images_*.json")):
            score = _read_json(path)
            try:
                rows.extend(_score_rows(trial, score))
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{path} is no score file ({error!r})") from error
    return pd.DataFrame(rows, columns=list(MEASUREMENT_TYPES)).astype(MEASUREMENT_TYPES)


def _score_rows(trial: dict[Any, Any], score: dict[str, Any]) -> Iterator[dict[str, Any]]:
    shared = {key: trial[key] for key in ("number", "form", "state")}
    protocol = ("images_seen", "final", "sampler", "extractor", "reference")
    shared |= {key: score[key] for key in protocol}
    for point in score["curve"]:
        for name, value in point["scores"].items():
            yield {
                **shared,
                "omega": point["omega"],
                "score": name,
                "value": value,
                "num_samples": score["num_samples"].get(name.rpartition("/")[2]),
            }


def _curves(directory: Path, trials: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {"number": trial["number"], **row}
        for trial in trials.to_dict("records")
        for row in _curve_rows(trial_folder(directory, trial["number"]) / CURVES)
    ]
    curves = pd.DataFrame(rows, columns=list(CURVE_TYPES)).astype(CURVE_TYPES)
    # A trial resumed from a checkpoint logs some steps twice; the later line is the one it kept.
    unique = curves.drop_duplicates(["number", "images_seen", "measure"], keep="last")
    return unique.reset_index(drop=True)


def _curve_rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # a killed trial leaves a torn line
        if not isinstance(row, dict) or "images_seen" not in row:
            continue
        seen = row["images_seen"]
        for name, value in row.items():
            if name not in ("images_seen", "time") and type(value) in (int, float):
                yield {"images_seen": seen, "measure": name, "value": float(value)}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return _mapping(json.loads(path.read_text(encoding="utf-8")), path)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def _mapping(value: Any, name: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a mapping, so this is no study")
    return value
