"""The table of a study's trials: what each was, and what it scored."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from diffrop.analysis.data.compare import baseline_trial, comparable_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import difference_text, format_count, format_score
from diffrop.analysis.report.summary import (
    SEARCHED,
    STATE_WORDS,
    STATES,
    best_trial,
    cell_text,
    has_accuracy,
    other_searched,
    reasons_for_no_best,
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
    """In the order of `trial_columns`; without the scores where there is a note."""
    note: str
    """Stands in the place of omega and the scores; "" where these are shown."""
    best: bool


def trial_columns(study: StudyResults) -> list[str]:
    """Return the head of the trials table."""
    return [
        "rank",
        "trial",
        "state",
        "form",
        "tau_0",
        "decay",
        "margin",
        *other_searched(study),
        "omega",
        *(f"FID {GROUPS[0]}", *GROUPS[1:]),
        *(["accuracy"] * has_accuracy(study)),
        *(["less baseline [95 %]"] if baseline_trial(study) is not None else []),
        *(["sampler"] * _varies(study, "sampler")),
        *(["constraints"] * _known(study, "feasible")),
        *(["front"] * _any(study, "front")),
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
        cells = _identity(study, trial) + (_scores(study, trial) if comparable else [])
        note = "" if comparable else _note(trial)
        rows.append(TrialRow(cells, note, best is not None and trial["number"] == best["number"]))
    return rows


def _identity(study: StudyResults, trial: pd.Series) -> list[Cell]:
    rank = format_count(trial["rank"]) if pd.notna(trial["rank"]) else ""
    state = STATE_WORDS.get(trial["state"], trial["state"])
    if pd.notna(trial["audited_at"]):
        state += " (audited)"
    return [
        Cell(rank, rank.replace(",", "")),
        _text(trial_label(trial["number"])),
        _text(state),
        _text("baseline" if trial["baseline"] else trial["form"]),
        *(_cell(trial[key]) for key in (*SEARCHED, *other_searched(study))),
    ]


def _scores(study: StudyResults, trial: pd.Series) -> list[Cell]:
    cells = [_cell(trial["omega"])]
    cells += [
        Cell(format_score(score), _sort_value(score))
        for score in (trial[f"fid/{group}"] for group in GROUPS)
    ]
    if has_accuracy(study):
        cells.append(Cell(f"{trial['accuracy/all']:.3f}", _sort_value(trial["accuracy/all"])))
    baseline = baseline_trial(study)
    if baseline is not None:
        change = trial["value"] - baseline["value"]
        text = "0" if trial["baseline"] else difference_text(trial, baseline)
        cells.append(Cell(text, _sort_value(change)))
    if _varies(study, "sampler"):
        cells.append(_text(trial["sampler"]))
    if _known(study, "feasible"):
        words = {True: "met", False: "not met"}
        cells.append(_text("" if pd.isna(trial["feasible"]) else words[bool(trial["feasible"])]))
    if _any(study, "front"):
        cells.append(_text("yes" if trial["front"] else ""))
    return cells


def _note(trial: pd.Series) -> str:
    if trial["state"] == "COMPLETE":
        if pd.isna(trial["value"]):
            return "its score is missing"
        return "scored with another N, sampler, extractor or reference, so not comparable"
    message = " ".join(str(trial["message"]).split())[:MESSAGE_CHARACTERS]
    rung = f"{format_count(trial['rung'])} images" if pd.notna(trial["rung"]) else ""
    if trial["state"] == "PRUNED":
        return f"stopped at {rung}" if rung else message
    reached = f"last scored at {rung}" if rung else "never scored"
    return f"{message} ({reached})" if message else reached


def _varies(study: StudyResults, column: str) -> bool:
    return bool(comparable_trials(study)[column].nunique() > 1)


def _known(study: StudyResults, column: str) -> bool:
    return bool(study.trials[column].notna().any())


def _any(study: StudyResults, column: str) -> bool:
    return bool(study.trials[column].any())


def _cell(value: Any) -> Cell:
    return Cell(cell_text(value), value if isinstance(value, str) else _sort_value(value))


def _text(text: str) -> Cell:
    return Cell(text, text)


def _sort_value(value: Any) -> str:
    return "" if pd.isna(value) else repr(float(value))
