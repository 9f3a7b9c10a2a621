"""The table of a study's trials: what each was, and what it scored."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from diffrop.analysis.data.compare import baseline_trial, best_trial, comparable_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import (
    ends_text,
    format_count,
    format_metric,
    format_score,
    parameter_label,
)
from diffrop.analysis.figures.style import form_style
from diffrop.analysis.report.metric_table import scored_metrics
from diffrop.analysis.report.summary import (
    SEARCHED,
    STATE_WORDS,
    STATES,
    cell_text,
    other_searched,
    reasons_for_no_best,
)
from diffrop.record.names import trial_label
from diffrop.shot_groups import GROUPS

MESSAGE_CHARACTERS = 200
HEADS = {"decay_temperature": "decay"}
"""Of settings with a long name."""


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and what it is sorted by."""

    text: str
    value: str = ""
    """A number, or text that sorts as such; "" comes last."""
    ends: str = ""
    """Of its interval, which a phone has in a second line."""


@dataclass(frozen=True)
class TrialRow:
    """One trial."""

    cells: list[Cell]
    """In the order of `trial_columns`."""
    best: bool
    comparable: bool
    """Whether its scores are shown."""


@dataclass(frozen=True)
class _Column:
    """One column, which a study may have or not."""

    head: str
    cell: Callable[[pd.Series], Cell]
    """Of a trial, which also says as `comparable` whether its scores are shown."""
    is_score: bool = False
    """Whether it is empty where scores are not shown."""

    def of(self, trial: pd.Series) -> Cell:
        """Return its cell of a trial."""
        return Cell("") if self.is_score and not trial["comparable"] else self.cell(trial)


def trial_columns(study: StudyResults) -> list[str]:
    """Return the head of the trials table: what matters most comes first, for narrow pages."""
    return [column.head for column in _columns(study)]


def trial_rows(study: StudyResults) -> list[TrialRow]:
    """Return the rows of the trials table: ranked ones first, then running, pruned and failed.

    Only trials scored alike show scores: a rung's FIDs have another N.
    """
    columns, places = _columns(study), {state: place for place, state in enumerate(STATES)}
    trials = study.trials.assign(
        place=study.trials["state"].map(places).fillna(len(STATES)),
        comparable=study.trials["number"].isin(comparable_trials(study)["number"]),
    )
    best = None if reasons_for_no_best(study) else best_trial(study)
    return [
        TrialRow(
            [column.of(trial) for column in columns],
            best=best is not None and trial["number"] == best["number"],
            comparable=bool(trial["comparable"]),
        )
        for _, trial in trials.sort_values(["place", "rank", "number"]).iterrows()
    ]


def _columns(study: StudyResults) -> list[_Column]:
    baseline, scored = baseline_trial(study), comparable_trials(study)
    columns = [
        _Column("rank", _rank),
        _Column("trial", lambda trial: _text(trial_label(trial["number"]))),
        _Column("form", lambda trial: _text(form_style(str(trial["form"])).label)),
        _Column(_head(study.objective), _value),
    ]
    if baseline is not None:
        difference = partial(_difference, baseline)
        columns.append(_Column("less baseline [95 %]", difference, is_score=True))
    if study.trials["feasible"].notna().any():
        columns.append(_Column("constraints", _constraints, is_score=True))
    columns += [
        _Column(_head(score), partial(_score, score), is_score=True)
        for score in study.objectives[1:]
    ]
    columns += [
        _Column(HEADS.get(key, parameter_label(key)), partial(_setting, key))
        for key in (*SEARCHED, *other_searched(study))
    ]
    columns.append(_Column("omega", partial(_setting, "omega"), is_score=True))
    columns += [
        _Column(_head(score), partial(_score, score), is_score=True)
        for score in (f"fid/{group}" for group in GROUPS)
        if score not in study.objectives
    ]
    columns += [
        _Column(metric.replace("_", " "), partial(_metric, metric), is_score=True)
        for metric in _other_metrics(study)
    ]
    if scored["sampler"].nunique() > 1:
        columns.append(_Column("sampler", partial(_setting, "sampler"), is_score=True))
    if study.trials["front"].any():
        front = _Column("front", lambda trial: _text("yes" if trial["front"] else ""), True)
        columns.append(front)
    return [*columns, _Column("state", _state)]


def _rank(trial: pd.Series) -> Cell:
    rank = format_count(trial["rank"]) if pd.notna(trial["rank"]) else ""
    return Cell(rank, rank.replace(",", ""))


def _value(trial: pd.Series) -> Cell:
    """Return the objective, or how the trial ended without one that compares."""
    return _score("value", trial) if trial["comparable"] else Cell(_state_word(trial))


def _difference(baseline: pd.Series, trial: pd.Series) -> Cell:
    change = trial["value"] - baseline["value"]
    if trial["baseline"]:
        return Cell("0", _sort_value(change))
    return Cell(f"{change:+.2f}", _sort_value(change), ends_text(trial))


def _setting(key: str, trial: pd.Series) -> Cell:
    value = trial[key]
    return Cell(cell_text(value), value if isinstance(value, str) else _sort_value(value))


def _score(score: str, trial: pd.Series) -> Cell:
    return Cell(format_score(trial[score]), _sort_value(trial[score]))


def _metric(metric: str, trial: pd.Series) -> Cell:
    value = trial[f"{metric}/{GROUPS[0]}"]
    return Cell(format_metric(metric, value), _sort_value(value))


def _constraints(trial: pd.Series) -> Cell:
    words = {True: "met", False: "not met"}
    return _text("" if pd.isna(trial["feasible"]) else words[bool(trial["feasible"])])


def _state(trial: pd.Series) -> Cell:
    return Cell(_end(trial), _state_word(trial))


def _state_word(trial: pd.Series) -> str:
    return STATE_WORDS.get(trial["state"], str(trial["state"]))


def _end(trial: pd.Series) -> str:
    """Return how a trial ended or where it is, and why it shows no score."""
    state = _state_word(trial) + (" (audited)" if pd.notna(trial["audited_at"]) else "")
    if trial["comparable"]:
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


def _other_metrics(study: StudyResults) -> list[str]:
    """Return the metrics beside FID that trials have over all classes."""
    return [
        metric
        for metric in scored_metrics(study)
        if metric != "fid"
        and f"{metric}/{GROUPS[0]}" in study.trials
        and study.trials[f"{metric}/{GROUPS[0]}"].notna().any()
    ]


def _text(text: str) -> Cell:
    return Cell(text, text)


def _sort_value(value: Any) -> str:
    return "" if pd.isna(value) else repr(float(value))
