"""What a study found, in words and rows; the report only lays it out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.compare import (
    baseline_trial,
    comparable_trials,
    contrastive_trials,
    num_samples_column,
)
from analysis.load import GROUPS, StudyResults, trial_folder
from analysis.protocol import method_text
from analysis.words import format_count, format_metric, format_score, score_label

STATE_WORDS = {
    "COMPLETE": "complete", "RUNNING": "running", "PRUNED": "pruned", "FAIL": "failed",
}  # fmt: skip
STATES = tuple(STATE_WORDS)
SEARCHED = {"tau_0": "tau_0", "decay_temperature": "decay temperature", "margin": "margin"}
METRIC_WORDS = {
    "fid": "FID, lower is better",
    "fid_full": "FID against all classes, lower",
    "fid_infinity": "FID at infinite N, lower",
    "kid": "KID, lower",
    "inception_score": "Inception Score, higher",
    "precision": "improved precision, higher",
    "recall": "improved recall, higher",
    "f_8": "F_8 (recall), higher",
    "f_1_8": "F_1/8 (precision), higher",
    "memorisation": "memorisation, 0.5 is none",
    "memorisation_z": "memorisation, z score",
    "accuracy": "accuracy of asked labels, higher",
}
MESSAGE_CHARACTERS = 200
NBSP = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Answer:
    """The first thing a reader sees."""

    headline: str
    facts: Sequence[tuple[str, str, str]]
    """Name, number and note of: the best contrastive trial, the baseline, the difference."""
    caveat: str


def answer(study: StudyResults) -> Answer:
    """Return the best contrastive trial beside the baseline, and how far to trust it."""
    trials, baseline = contrastive_trials(study), baseline_trial(study)
    label = score_label(study.objective)
    if trials.empty:
        headline = "No trial with a contrastive loss is complete, so there is no answer yet."
        facts = (
            []
            if baseline is None
            else [_fact(f"Baseline ({method_text(study)})", baseline, study)]
        )
        return Answer(headline, facts, "")
    best = trials.iloc[0]
    facts = [_fact(f"Best contrastive trial, {short_name(best)}", best, study)]
    caveat = "There is one training seed per trial, which no interval here holds. "
    if len(trials) > 1:
        caveat += (
            f"The best of {len(trials)} contrastive trials was also chosen by this very score, "
            "which flatters it. "
        )
    words = describe(best, study)
    if baseline is None:
        headline = f"Best: {words}. The baseline is not complete, so nothing says that it helps."
        return Answer(headline, facts, caveat.strip())
    facts.append(_fact(f"Baseline ({method_text(study)})", baseline, study))
    facts.append(("Difference", *_difference(best, baseline)))
    advice = "Train both again with fresh seeds before you believe the order."
    return Answer(_headline(best, baseline, words, label), facts, caveat + advice)


def _headline(best: pd.Series, baseline: pd.Series, words: str, label: str) -> str:
    gain = float(baseline["value"] - best["value"])
    if best["difference_low"] <= 0 <= best["difference_high"]:
        return (
            f"No difference found. The best contrastive trial, {words}, and the baseline are as "
            f"far apart in their {label} as samples of one model are."
        )
    if gain > 0:
        return f"Best: {words}. Its {label} is {gain:.2f} lower than the baseline's."
    return (
        f"No contrastive loss scored better than the baseline. Closest: {words}, "
        f"whose {label} is {-gain:.2f} higher."
    )


def _difference(best: pd.Series, baseline: pd.Series) -> tuple[str, str]:
    """The difference to the baseline, and its interval or share."""
    change = float(best["value"] - baseline["value"])
    share = 100 * abs(change) / float(baseline["value"]) if baseline["value"] else float("nan")
    note = f"{_percent(share)} {'lower' if change < 0 else 'higher'}; lower is better"
    if pd.notna(best["difference_low"]):
        places = 2 if best["difference_high"] - best["difference_low"] >= 0.1 else 4
        ends = f"{best['difference_low']:+.{places}f} to {best['difference_high']:+.{places}f}"
        note = f"95{NBSP}%: {ends}, paired over samples; {note}"
    return f"{change:+.2f}", note


def _fact(name: str, trial: pd.Series, study: StudyResults) -> tuple[str, str, str]:
    count = format_count(trial[num_samples_column(study.objective)])
    note = f"{score_label(study.objective)}; N = {count}; omega = {_number(trial['omega'])}"
    if pd.notna(trial["value_low"]):
        note += f"; 95 % over samples: {trial['value_low']:.2f} to {trial['value_high']:.2f}"
    note = note.replace(" = ", f"{NBSP}={NBSP}").replace(" %", f"{NBSP}%")
    return name, f"{trial['value']:.2f}", note


def describe(trial: pd.Series, study: StudyResults) -> str:
    """Return a trial's configuration in words: "reciprocal form, tau_0 = 3.2, ..."."""
    if trial["baseline"]:
        return "baseline (no contrastive loss)"
    values = [
        f"{name} = {_number(trial[key])}" for key, name in SEARCHED.items() if pd.notna(trial[key])
    ]
    values += [f"{key} = {_cell(trial[key])}" for key in other_searched(study)]
    return ", ".join([f"{trial['form']} form", *values])


def short_name(trial: pd.Series) -> str:
    """Return the name of a trial's folder, such as t007."""
    return trial_folder(Path(), int(trial["number"])).name


def other_searched(study: StudyResults) -> list[str]:
    """Return the searched keys beside form, tau_0, decay temperature and margin that vary."""
    names = [str(item.get("name")) for item in study.space]
    return [
        name
        for name in names
        if name in study.trials and study.trials[name].nunique(dropna=True) > 1
    ]


def trial_columns(study: StudyResults) -> list[str]:
    """Return the head of the trials table."""
    accuracy = ["accuracy"] if has_accuracy(study) else []
    return [
        "rank", "trial", "state", "form", "tau_0", "decay", "margin", *other_searched(study),
        "omega", *(f"FID {GROUPS[0]}", *GROUPS[1:]), *accuracy,
    ]  # fmt: skip


def trial_rows(study: StudyResults) -> list[dict[str, Any]]:
    """Return the rows of the trials table: ranked ones first, then running, pruned and failed.

    Returns:
        per trial its cells in the order of `trial_columns`, a note that stands in place of omega
        and the scores ("" if these are shown), and whether it is the best. Only trials scored
        alike show scores: a rung's FIDs have another N.
    """
    places = {state: place for place, state in enumerate(STATES)}
    trials = study.trials.assign(place=study.trials["state"].map(places).fillna(len(STATES)))
    shown = comparable_trials(study)["number"].tolist()
    rows = []
    for _, trial in trials.sort_values(["place", "rank", "number"]).iterrows():
        comparable = trial["number"] in shown
        rows.append(
            {
                "cells": _identity(study, trial) + (_scores(study, trial) if comparable else []),
                "note": "" if comparable else _note(trial),
                "best": trial["number"] in shown[:1],
            }
        )
    return rows


def _identity(study: StudyResults, trial: pd.Series) -> list[str]:
    return [
        format_count(trial["rank"]) if pd.notna(trial["rank"]) else "",
        short_name(trial),
        STATE_WORDS.get(trial["state"], trial["state"]),
        "baseline" if trial["baseline"] else trial["form"],
        *(_cell(trial[key]) for key in (*SEARCHED, *other_searched(study))),
    ]


def _scores(study: StudyResults, trial: pd.Series) -> list[str]:
    accuracy = [f"{trial['accuracy/all']:.3f}"] if has_accuracy(study) else []
    scores = [format_score(trial[f"fid/{group}"]) for group in GROUPS]
    return [_cell(trial["omega"]), *scores, *accuracy]


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


def metric_rows(study: StudyResults) -> list[tuple[str, str, list[str]]]:
    """Return the metrics of the baseline and of the best contrastive trial, all of them.

    Returns:
        metric in words with the better direction, trial, and the value for each of `GROUPS`.
    """
    baseline, trials = baseline_trial(study), contrastive_trials(study)
    shown = [] if baseline is None else [baseline]
    shown += [] if trials.empty else [trials.iloc[0]]
    rows = []
    for metric, words in METRIC_WORDS.items():
        for trial in shown:
            values = [trial.get(f"{metric}/{group}", math.nan) for group in GROUPS]
            if any(pd.notna(value) for value in values):
                cells = [format_metric(metric, value) for value in values]
                name = "baseline" if trial["baseline"] else short_name(trial)
                rows.append((words, name, cells))
    return rows


def counts_in_words(study: StudyResults) -> str:
    """Return "9 trials: 6 complete, 1 pruned, 2 failed; 12.3 minutes of trial time"."""
    states = study.trials["state"].value_counts()
    parts = [f"{states[state]} {STATE_WORDS[state]}" for state in STATES if state in states]
    parts += [f"{count} {state}" for state, count in states.items() if state not in STATE_WORDS]
    seconds = float(study.trials["duration_s"].sum())
    time = f"{seconds / 3600:.1f} hours" if seconds >= 7200 else f"{seconds / 60:.1f} minutes"
    noun = "trial" if len(study.trials) == 1 else "trials"
    return f"{len(study.trials)} {noun}: {', '.join(parts)}; {time} of trial time"


def has_accuracy(study: StudyResults) -> bool:
    """Whether the extractor is a classifier, which also gives the accuracy of the samples."""
    return "accuracy/all" in study.trials and bool(study.trials["accuracy/all"].notna().any())


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if pd.isna(value) else _number(value)


def _percent(share: float) -> str:
    return f"{share:.1f} %" if share >= 1 else f"{share:.2g} %"


def _number(value: Any) -> str:
    if pd.isna(value):
        return "unknown"
    near_one = 0.9 < value < 1.1  # margins are searched from 0.995 to 1.05
    return f"{float(value):.4g}" if near_one else f"{float(value):.3g}"
