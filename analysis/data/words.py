"""Numbers and scores as a reader sees them."""

import math
from typing import Any

import pandas as pd

from diffrop.record.names import trial_label
from diffrop.shot_groups import SHOT_GROUPS

NO_VALUE = "-"


def format_score(value: float) -> str:
    """Return a score with three or four digits, or a dash where there is none."""
    if math.isnan(value):
        return NO_VALUE
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"


def format_metric(metric: str, value: Any) -> str:
    """Return a metric's value: FIDs as scores, KID with three digits, shares with three places."""
    if value is None or pd.isna(value):
        return NO_VALUE
    if metric.startswith("fid"):
        return format_score(value)
    if metric == "kid":
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:.2f}" if abs(value) >= 1 or metric.endswith("_z") else f"{value:.3f}"


def format_change(metric: str, change: float) -> str:
    """Return a difference of two values of a metric, with its sign."""
    if math.isnan(change):
        return NO_VALUE
    text = format_metric(metric, abs(change))
    if float(text.replace(",", "")) == 0:
        return "0"
    return f"{'+' if change > 0 else '-'}{text}"


def format_count(value: Any) -> str:
    """Return a count as "1,000", or "unknown" where there is none."""
    return "unknown" if value is None or pd.isna(value) else f"{int(value):,}"


def beyond_text(shown: float, is_difference: bool) -> str:
    """Return the number beside an arrow at the end of an axis: "+78.2", a score, "" for NaN."""
    if math.isnan(shown):
        return ""
    return f"{shown:+.1f}" if is_difference else format_score(shown)


def score_label(score: str) -> str:
    """Return a score's name in words: "fid/few" is "FID of few-shot classes"."""
    measure, _, group = score.partition("/")
    name = {"fid": "FID", "fid_full": "FID against all classes"}.get(measure, measure)
    return (
        f"{name} of {group}-shot classes" if group in SHOT_GROUPS else f"{name} of {group} classes"
    )


def difference_text(trial: pd.Series, baseline: pd.Series | None) -> str:
    """Return a trial's score less the baseline's with its interval: "-0.80 [-1.5, -0.1]"."""
    if baseline is None:
        return format_score(trial["value"])
    change = float(trial["value"] - baseline["value"])
    return f"{change:+.2f} {ends_text(trial)}".rstrip()


def ends_text(trial: pd.Series, of: str = "") -> str:
    """Return the interval of a trial's difference to the baseline: "[-1.50, -0.10]".

    Args:
        trial: a row of `StudyResults.trials`.
        of: the end of the columns' names, such as "/fid/few"; the objective's if empty.

    Returns:
        "" where it is not known.
    """
    low, high = (trial.get(f"difference_{end}{of}", math.nan) for end in ("low", "high"))
    return "" if pd.isna(low) else f"[{low:+.2f}, {high:+.2f}]"


def trials_in_words(trials: pd.DataFrame) -> str:
    """Return trials with their objective: "t003 (91.0), t007 (43.9)"; "" for none."""
    pairs = zip(trials["number"], trials["value"], strict=True)
    return ", ".join(f"{trial_label(number)} ({format_score(value)})" for number, value in pairs)


def parameter_label(name: str) -> str:
    """Return a searched key as a figure has it: "contrastive.tau_schedule" is "tau schedule"."""
    last = name.rpartition(".")[2]
    return last if last == "tau_0" else last.replace("_", " ")
