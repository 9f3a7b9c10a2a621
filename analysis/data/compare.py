"""Which trials of a study are comparable, and which of them are the best."""

import math
from collections.abc import Callable

import pandas as pd

from diffrop.analysis.data.load import StudyResults
from diffrop.metrics.protocol import MIN_SHOWN

PROTOCOL = ("sampler", "extractor", "reference")
"""What scores depend on beside the model and N."""
BROKEN = 1.5
"""A trial whose score is this many times the median of all is broken: no axis is to hold it."""
FAR = 3.0
"""The same of scores that differ by what they are of: classes, studies, ways of sampling."""


def num_samples_column(score: str) -> str:
    """Return the column of `StudyResults.trials` with the N behind a score such as "fid/few"."""
    return f"num_samples/{score.rpartition('/')[2]}"


def enough_samples(counts: pd.Series) -> pd.Series:
    """Return which numbers of samples are enough for a score to be drawn; unknown ones are."""
    return counts.isna() | (counts.fillna(0) >= MIN_SHOWN)


def comparable_trials(study: StudyResults) -> pd.DataFrame:
    """Return the complete trials that were scored alike, best first.

    Those that meet the constraints come before those that do not, each by the objective.
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
    complete = complete.sort_values(["value", "number"])
    met = meets_constraints(complete)
    return pd.concat([complete[met], complete[~met]])


def meets_constraints(trials: pd.DataFrame) -> pd.Series:
    """Return for each trial False if it is known to break a constraint of its study, else True."""
    return trials["feasible"].fillna(True).astype(bool)


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


def best_trial(study: StudyResults) -> pd.Series | None:
    """Return the best contrastive trial that meets the constraints; None without one."""
    trials = contrastive_trials(study)
    return trials.iloc[0] if meets_constraints(trials.head(1)).any() else None


def baseline_and_best(study: StudyResults) -> list[pd.Series]:
    """Return the baseline and the best contrastive trial, as far as there are such."""
    return [trial for trial in (baseline_trial(study), best_trial(study)) if trial is not None]


def broken(values: pd.Series, among: pd.Series | None = None, times: float = BROKEN) -> pd.Series:
    """Return which scores are so far above the others that an axis of all would hide those.

    Args:
        values: the scores.
        among: those whose median they are compared with (of two the lower); all if None.
        times: how many times the median is too far.
    """
    others = values if among is None else among
    return values > times * others.quantile(0.5, interpolation="lower")


def beside_baseline(study: StudyResults, trials: pd.DataFrame, score: str = "") -> pd.DataFrame:
    """Return trials with what is drawn of a score: its difference to the baseline where known.

    Args:
        study: whose baseline it is.
        trials: of it.
        score: the objective if empty.

    Returns:
        `trials` with the columns shown, low and high (95 % over samples, NaN where unknown):
        differences, paired over samples, or the score itself where there is no baseline; and
        beyond, whether the score is broken among all comparable trials, the baseline included.
    """
    baseline, own = baseline_trial(study), score in ("", study.objective)
    column, of = ("value", "") if own else (score, f"/{score}")
    trials = trials.assign(beyond=broken(trials[column], comparable_trials(study)[column]))
    if baseline is None:
        ends = {"low": "value_low", "high": "value_high"} if own else {}
        known = {name: trials[end] for name, end in ends.items()}
        return trials.assign(shown=trials[column], **({"low": math.nan, "high": math.nan} | known))
    return trials.assign(
        shown=trials[column] - baseline[column],
        low=trials[f"difference_low{of}"],
        high=trials[f"difference_high{of}"],
    )


def order_by(study: StudyResults, objective: Callable[[pd.Series], float]) -> pd.DataFrame:
    """Return the comparable trials by an objective of one's own, best first.

    Args:
        study: whose trials they are; each stays at the omega that its own objective chose.
        objective: of a trial, a row of `study.trials`; lower is better, NaN has no place.

    Returns:
        `comparable_trials` with the columns `own`, the objective; `own_difference`, less the
        baseline's (NaN without one); and `own_rank`, from 1 (NA where `own` is NaN).

    Raises:
        ValueError: the objective of a trial is no number.
    """
    trials, baseline = comparable_trials(study), baseline_trial(study)
    try:
        own = [float(objective(trial)) for _, trial in trials.iterrows()]
    except (TypeError, ValueError) as error:
        raise ValueError(f"the objective of a trial is no number: {error}") from error
    trials = trials.assign(own=pd.Series(own, trials.index, dtype="float64"))
    level = math.nan
    if baseline is not None:
        level = trials.loc[trials["number"] == baseline["number"], "own"].iloc[0]
    ranks = trials["own"].rank(method="first").astype("Int64")
    return trials.assign(own_difference=trials["own"] - level, own_rank=ranks).sort_values("own")


def best_of_each_form(study: StudyResults) -> pd.DataFrame:
    """Return the baseline and the best comparable trial of each form, in no order."""
    trials = comparable_trials(study)
    return pd.concat([trials[trials["baseline"]], trials]).drop_duplicates("form")
