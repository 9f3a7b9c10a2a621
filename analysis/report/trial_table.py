"""The table of a study's trials: what each was, and what it scored."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from diffrop.analysis.data.compare import baseline_trial, comparable_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import difference_text, format_count, format_metric, format_score
from diffrop.analysis.report.summary import (
    SEARCHED,
    STATE_WORDS,
    STATES,
    best_trial,
    cell_text,
    other_searched,
    reasons_for_no_best,
    scored_metrics,
)
from diffrop.record.names import trial_label
from diffrop.shot_groups import GROUPS

MESSAGE_CHARACTERS = 200


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and what it is sorted by."""

    text: str
    value: str = ""
    """A number, or text that sorts as such; "" comes last."""


@dataclass(frozen=True)
class TrialRow:
    """One trial."""

    cells: list[Cell]
    """In the order of `trial_columns`."""
    best: bool
    comparable: bool
    """Whether its scores are shown."""


def trial_columns(study: StudyResults) -> list[str]:
    """Return the head of the trials table: what matters most comes first, for narrow pages."""
    return [
        "rank",
        "trial",
        "form",
        _head(study.objective),
        *(["less baseline [95 %]"] if baseline_trial(study) is not None else []),
        "tau_0",
        "decay",
        "margin",
        *other_searched(study),
        "omega",
        *map(_head, _other_fids(study)),
        *(metric.replace("_", " ") for metric in _other_metrics(study)),
        *(["sampler"] * _varies(study, "sampler")),
        *(["constraints"] * _known(study, "feasible")),
        *(["front"] * _any(study, "front")),
        "state",
    ]


def trial_rows(study: StudyResults) -> list[TrialRow]:
    """Return the rows of the trials table: ranked ones first, then running, pruned and failed.

    Only trials scored alike show scores: a rung's FIDs have another N.
    """
    places = {state: place for place, state in enumerate(STATES)}
    trials = study.trials.assign(place=study.trials["state"].map(places).fillna(len(STATES)))
    shown = set(comparable_trials(study)["number"])
    best = None if reasons_for_no_best(study) else best_trial(study)
    rows = []
    for _, trial in trials.sort_values(["place", "rank", "number"]).iterrows():
        comparable = trial["number"] in shown
        cells = _cells(study, trial, comparable)
        is_best = best is not None and trial["number"] == best["number"]
        rows.append(TrialRow(cells, is_best, comparable))
    return rows


def _cells(study: StudyResults, trial: pd.Series, comparable: bool) -> list[Cell]:
    rank = format_count(trial["rank"]) if pd.notna(trial["rank"]) else ""
    state = STATE_WORDS.get(trial["state"], str(trial["state"]))
    baseline = baseline_trial(study)
    cells = [
        Cell(rank, rank.replace(",", "")),
        _text(trial_label(trial["number"])),
        _text("baseline" if trial["baseline"] else trial["form"]),
        _score(trial["value"]) if comparable else Cell(state),
    ]
    if baseline is not None:
        cells.append(_difference(trial, baseline) if comparable else Cell(""))
    cells += [_cell(trial[key]) for key in (*SEARCHED, *other_searched(study))]
    cells += _scores(study, trial) if comparable else [Cell("")] * _num_scores(study)
    return [*cells, Cell(_state(trial, state, comparable), state)]


def _difference(trial: pd.Series, baseline: pd.Series) -> Cell:
    text = "0" if trial["baseline"] else difference_text(trial, baseline)
    return Cell(text, _sort_value(trial["value"] - baseline["value"]))


def _scores(study: StudyResults, trial: pd.Series) -> list[Cell]:
    """Return the cells behind the parameters."""
    cells = [_cell(trial["omega"]), *(_score(trial[name]) for name in _other_fids(study))]
    for metric in _other_metrics(study):
        value = trial[f"{metric}/{GROUPS[0]}"]
        cells.append(Cell(format_metric(metric, value), _sort_value(value)))
    if _varies(study, "sampler"):
        cells.append(_text(trial["sampler"]))
    if _known(study, "feasible"):
        words = {True: "met", False: "not met"}
        cells.append(_text("" if pd.isna(trial["feasible"]) else words[bool(trial["feasible"])]))
    if _any(study, "front"):
        cells.append(_text("yes" if trial["front"] else ""))
    return cells


def _num_scores(study: StudyResults) -> int:
    optional = (_varies(study, "sampler"), _known(study, "feasible"), _any(study, "front"))
    return 1 + len(_other_fids(study)) + len(_other_metrics(study)) + sum(optional)


def _state(trial: pd.Series, state: str, comparable: bool) -> str:
    """Return how a trial ended or where it is, and why it shows no score."""
    if pd.notna(trial["audited_at"]):
        state += " (audited)"
    if comparable:
        return state
    if trial["state"] == "COMPLETE":
        if pd.isna(trial["value"]):
            return f"{state}, but its score is missing"
        return f"{state}, but scored with another N, sampler, extractor or reference"
    message = " ".join(str(trial["message"]).split())[:MESSAGE_CHARACTERS]
    rung = f"{format_count(trial['rung'])} images" if pd.notna(trial["rung"]) else ""
    if trial["state"] == "PRUNED" and rung:
        return f"{state} at {rung}"
    reached = f"last scored at {rung}" if rung else "never scored"
    return f"{state}: {message} ({reached})" if message else f"{state}, {reached}"


def _head(score: str) -> str:
    metric, _, group = score.partition("/")
    return f"{'FID' if metric == 'fid' else metric} {group}"


def _other_fids(study: StudyResults) -> list[str]:
    return [name for name in (f"fid/{group}" for group in GROUPS) if name != study.objective]


def _other_metrics(study: StudyResults) -> list[str]:
    """Return the metrics beside FID that trials have over all classes."""
    return [
        metric
        for metric in scored_metrics(study)
        if metric != "fid"
        and f"{metric}/{GROUPS[0]}" in study.trials
        and _known(study, f"{metric}/{GROUPS[0]}")
    ]


def _varies(study: StudyResults, column: str) -> bool:
    return bool(comparable_trials(study)[column].nunique() > 1)


def _known(study: StudyResults, column: str) -> bool:
    return bool(study.trials[column].notna().any())


def _any(study: StudyResults, column: str) -> bool:
    return bool(study.trials[column].any())


def _cell(value: Any) -> Cell:
    return Cell(cell_text(value), value if isinstance(value, str) else _sort_value(value))


def _score(value: Any) -> Cell:
    return Cell(format_score(value), _sort_value(value))


def _text(text: str) -> Cell:
    return Cell(text, text)


def _sort_value(value: Any) -> str:
    return "" if pd.isna(value) else repr(float(value))
