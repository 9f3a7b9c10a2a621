"""What a study found, in words; the report only lays it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from diffrop.analysis.data.compare import (
    baseline_trial,
    best_trial,
    comparable_trials,
    contrastive_trials,
    num_samples_column,
)
from diffrop.analysis.data.confirmed import Confirmed, confirmed
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import (
    format_count,
    parameter_label,
    score_label,
)
from diffrop.analysis.figures.style import form_style
from diffrop.analysis.report.protocol import method_text
from diffrop.record.names import trial_label
from diffrop.study.learned import nothing_learned, within_warmup

STATE_WORDS = {"COMPLETE": "complete", "RUNNING": "running", "PRUNED": "pruned", "FAIL": "failed"}
STATES = tuple(STATE_WORDS)
SEARCHED = {"tau_0": "tau_0", "decay_temperature": "decay temperature", "margin": "margin"}
NBSP = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Answer:
    """The first thing a reader sees."""

    certainty: str
    """How far to trust it, in a few words."""
    is_confirmed: bool
    """Whether fresh seeds have confirmed it."""
    headline: str
    facts: Sequence[tuple[str, str, str]]
    """Name, number and note of: the best contrastive trial, the baseline, the difference."""
    caveat: str


def answer(study: StudyResults) -> Answer:
    """Return the best contrastive trial beside the baseline, and how far to trust it."""
    best, baseline = best_trial(study), baseline_trial(study)
    facts = [] if baseline is None else [_fact(_baseline_name(study), baseline, study)]
    if reasons := reasons_for_no_best(study):
        headline = f"No best is named. {' '.join(reasons)}"
        caveat = "The order of the trials means nothing: train for longer (--images), or change "
        caveat += "the setting that is named, before you read the figures below."
        return Answer("Nothing was learned", False, headline, facts, caveat)
    if best is None:
        if contrastive_trials(study).empty:
            headline = "No trial with a contrastive loss is complete, so there is no answer yet."
            return Answer("No answer yet", False, headline, facts, "")
        headline = (
            "No trial with a contrastive loss meets the constraints: "
            f"{'; '.join(constraints(study))}."
        )
        return Answer("Constraints not met", False, headline, facts, "")
    found = confirmed(study)
    if found is not None:
        return _confirmed_answer(study, found)
    return _search_answer(study, best, baseline)


def reasons_for_no_best(study: StudyResults) -> list[str]:
    """Return why no trial can be called the best, in sentences; see `diffrop.study.learned`."""
    trials, baseline = comparable_trials(study), baseline_trial(study)
    lengths = [study.setting(f"training.{name}") for name in ("num_images", "warmup_images")]
    scored = [name for name in study.objectives if name in trials]
    return nothing_learned(
        within_warmup(*lengths) if None not in lengths and len(trials) else [],
        trials[scored].to_numpy().tolist() if scored else [],
        {} if baseline is None else {study.objective: float(baseline["value"])},
        (study.reference_scores.get("noise") or {}).get("scores") or {},
        study.objective,
    )


def constraints(study: StudyResults) -> list[str]:
    """Return what a trial must meet to be called best, such as "fid/all <= 40"."""
    return [str(text) for text in study.setting("evaluation.constraints") or []]


def _search_answer(study: StudyResults, best: pd.Series, baseline: pd.Series | None) -> Answer:
    """The answer of the search alone: one training seed a trial."""
    facts = [_fact(f"Best contrastive trial, {trial_label(best['number'])}", best, study)]
    caveat = (
        "Each trial has one training seed, and no interval here includes the spread over seeds. "
    )
    trials = contrastive_trials(study)
    if len(trials) > 1:
        caveat += (
            f"The best of {len(trials)} contrastive trials was also chosen by this very score, "
            "so that it looks better than it is. "
        )
    words = describe(best, study)
    if baseline is None:
        headline = (
            f"Best: {words}. The baseline is not complete, so it is not known whether it helps"
        )
        limits = "; ".join(constraints(study))
        headline += f", or meets {limits}." if pd.isna(best["feasible"]) and limits else "."
        return Answer("No baseline to compare with", False, headline, facts, caveat.strip())
    facts.append(_fact(_baseline_name(study), baseline, study))
    facts.append(("Difference", *_difference(best, baseline)))
    none_found = bool(best["difference_low"] <= 0 <= best["difference_high"])
    certainty = "No difference found" if none_found else "One training seed, not confirmed"
    headline = _headline(best, baseline, words, score_label(study.objective), none_found)
    caveat += "Train both again with fresh seeds before you rely on the order."
    return Answer(certainty, False, headline, facts, caveat + _trade_off(study))


def _confirmed_answer(study: StudyResults, found: Confirmed) -> Answer:
    """The answer of the retrainings with fresh seeds, which were not chosen by their score."""
    trial = study.trials[study.trials["number"] == found.number].iloc[0]
    words, label, seeds = describe(trial, study), score_label(found.objective), found.num_seeds
    ends = _signed_ends(found.low, found.high)
    if found.is_best:
        certainty = f"Confirmed over {seeds} fresh seeds"
        headline = (
            f"Best: {words}. Over {seeds} fresh seeds its {label} is {-found.mean:.2f} lower than "
            f"the baseline's ({found.level} interval of the difference: {ends})."
        )
    else:
        undecided = found.low <= 0 <= found.high
        certainty = (
            f"{'No difference found' if undecided else 'Not better'} over {seeds} fresh seeds"
        )
        headline = (
            f"No leader {'was shown to be' if undecided else 'is'} better than the baseline. "
            f"The nearest, {words}, has over {seeds} "
            f"fresh seeds a {label} that is {found.mean:+.2f} ({ends}) against the baseline's."
        )
        if found.low < 0:
            headline += f" That rules out a gain of more than {-found.low:.2f}."
    note = f"{label}; mean of {seeds} fresh seeds; N = {format_count(found.num_samples)}"
    facts = [
        (f"{trial_label(trial['number'])}, trained again", f"{found.value:.2f}", _bound(note)),
        ("Baseline, same seeds", f"{found.baseline_value:.2f}", _bound(note)),
        (
            "Difference",
            f"{found.mean:+.2f}",
            _bound(f"{found.level}: {ends}, paired over seeds; lower is better"),
        ),
    ]
    caveat = "The seeds are new, so the leader was not chosen by these scores."
    if found.conditional:
        caveat += (
            " All retrainings start from the same weights, so no interval includes what a "
            "fresh start would change."
        )
    return Answer(certainty, found.is_best, headline, facts, caveat + _trade_off(study))


def _trade_off(study: StudyResults) -> str:
    """Say that there is more than one best where a study has several objectives."""
    front = study.front
    if len(study.objectives) < 2 or front is None or front["front"].sum() < 2:
        return ""
    return (
        f" Several choices are best, depending on what {' and '.join(study.objectives)} are worth "
        "to you: see the Pareto front below."
    )


def _baseline_name(study: StudyResults) -> str:
    return f"Baseline ({method_text(study)})"


def _headline(
    best: pd.Series, baseline: pd.Series, words: str, label: str, none_found: bool
) -> str:
    gain = float(baseline["value"] - best["value"])
    if none_found:
        return (
            f"No difference found. The best contrastive trial, {words}, and the baseline differ "
            f"in their {label} no more than two sets of samples of one model do."
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
        ends = _signed_ends(best["difference_low"], best["difference_high"])
        note = f"95{NBSP}%: {ends}, paired over samples; {note}"
    return f"{change:+.2f}", note


def _signed_ends(low: float, high: float) -> str:
    places = 2 if high - low >= 0.1 else 4
    return f"{low:+.{places}f} to {high:+.{places}f}"


def _fact(name: str, trial: pd.Series, study: StudyResults) -> tuple[str, str, str]:
    count = format_count(trial[num_samples_column(study.objective)])
    note = f"{score_label(study.objective)}; N = {count}; omega = {_number(trial['omega'])}"
    if pd.notna(trial["value_low"]):
        note += f"; 95 % over samples: {trial['value_low']:.2f} to {trial['value_high']:.2f}"
    return name, f"{trial['value']:.2f}", _bound(note)


def _bound(note: str) -> str:
    """Keep a number and its sign or unit on one line."""
    return note.replace(" = ", f"{NBSP}={NBSP}").replace(" %", f"{NBSP}%")


def describe(trial: pd.Series, study: StudyResults) -> str:
    """Return a trial's configuration in words: "reciprocal form, tau_0 = 3.2, ..."."""
    if trial["baseline"]:
        return "baseline (no contrastive loss)"
    values = [
        f"{name} = {_number(trial[key])}" for key, name in SEARCHED.items() if pd.notna(trial[key])
    ]
    others = other_searched(study)
    values += [f"{parameter_label(key)} = {cell_text(trial[key])}" for key in others]
    return ", ".join([f"{form_style(str(trial['form'])).label} form", *values])


def other_searched(study: StudyResults) -> list[str]:
    """Return the searched keys beside form, tau_0, decay temperature and margin that vary."""
    names = [str(item.get("name")) for item in study.space]
    return [
        name
        for name in names
        if name in study.trials and study.trials[name].nunique(dropna=True) > 1
    ]


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


def cell_text(value: Any) -> str:
    """Return a setting as a table shows it; "" where there is none."""
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
