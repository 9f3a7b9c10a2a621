"""Which trials of a study are comparable, and which of them are the best."""

import math

import pandas as pd

from diffrop.analysis.data.load import StudyResults

PROTOCOL = ("sampler", "extractor", "reference")
"""What scores depend on beside the model and N."""
BROKEN = 1.5
"""A trial whose score is this many times the median of all is broken: no axis is to hold it."""


def num_samples_column(score: str) -> str:
    """Return the column of `StudyResults.trials` with the N behind a score such as "fid/few"."""
    return f"num_samples/{score.rpartition('/')[2]}"


def comparable_trials(study: StudyResults) -> pd.DataFrame:
    """Return the complete trials that were scored alike, by the objective, best first.

    FID depends on N, sampler, extractor and reference: values under different ones do not compare.
    Where complete trials differ in them, the largest group stays (of equal ones that of larger N).

    Returns:
        rows of `study.trials`; empty before any trial is complete.
    """
    trials = study.trials
    complete = trials[(trials["state"] == "COMPLETE") & trials["value"].notna()]
    count = num_samples_column(study.objective)
    counts = complete[count].fillna(-1)
    protocol = list(zip(counts, *(complete[name] for name in PROTOCOL), strict=True))
    if protocol:
        common = max(protocol, key=lambda found: (protocol.count(found), found))
        complete = complete[[found == common for found in protocol]]
    return complete.sort_values(["value", "number"])


def num_incomparable(study: StudyResults) -> int:
    """Return how many complete trials have no score under the common protocol."""
    return int((study.trials["state"] == "COMPLETE").sum()) - len(comparable_trials(study))


def baseline_trial(study: StudyResults) -> pd.Series | None:
    """Return the baseline (no contrastive loss), or None where it has no comparable score."""
    trials = comparable_trials(study)
    found = trials[trials["baseline"]]
    return None if found.empty else found.iloc[0]


def contrastive_trials(study: StudyResults) -> pd.DataFrame:
    """Return the comparable trials that have a contrastive loss, best first."""
    trials = comparable_trials(study)
    return trials[trials["form"] != "none"]


def broken(values: pd.Series) -> pd.Series:
    """Return which scores are so far above the others that an axis of all would hide those."""
    return values > BROKEN * values.median()


def beside_baseline(study: StudyResults, trials: pd.DataFrame, score: str = "") -> pd.DataFrame:
    """Return trials with what is drawn of a score: its difference to the baseline where known.

    Args:
        study: whose baseline it is.
        trials: of it.
        score: the objective if empty.

    Returns:
        `trials` with the columns shown, low and high (95 % over samples, NaN where unknown):
        differences, paired over samples, or the score itself where there is no baseline.
    """
    baseline, own = baseline_trial(study), score in ("", study.objective)
    column, of = ("value", "") if own else (score, f"/{score}")
    if baseline is None:
        ends = {"low": "value_low", "high": "value_high"} if own else {}
        known = {name: trials[end] for name, end in ends.items()}
        return trials.assign(shown=trials[column], **({"low": math.nan, "high": math.nan} | known))
    return trials.assign(
        shown=trials[column] - baseline[column],
        low=trials[f"difference_low{of}"],
        high=trials[f"difference_high{of}"],
    )


def best_of_each_form(study: StudyResults) -> pd.DataFrame:
    """Return the baseline and the best comparable trial of each form, in no order."""
    trials = comparable_trials(study)
    return pd.concat([trials[trials["baseline"]], trials]).drop_duplicates("form")
