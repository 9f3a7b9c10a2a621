"""The table of all metrics by shot group, of the baseline and of the best contrastive trial."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from diffrop.analysis.data.compare import baseline_and_best
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.words import NO_VALUE, ends_text, format_change, format_metric
from diffrop.metrics.protocol import name_note
from diffrop.record.names import trial_label
from diffrop.shot_groups import GROUPS

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
    "accuracy": "accuracy of the labels asked for, higher",
}
"""Metrics with the better direction; one without an entry is called by its name."""


@dataclass(frozen=True)
class MetricRow:
    """One metric of one group of classes."""

    group: str
    values: list[str]
    """Of the baseline and of the best contrastive trial, as far as there are such; then, of two,
    the difference."""
    ends: str = ""
    """Of the difference's interval, where that is known."""


def metric_columns(study: StudyResults) -> list[str]:
    """Return the heads of the values of `metric_rows`."""
    heads = [
        "baseline" if trial["baseline"] else trial_label(trial["number"])
        for trial in baseline_and_best(study)
    ]
    return [*heads, "difference"] if len(heads) == 2 else heads


def metric_rows(study: StudyResults) -> dict[str, list[MetricRow]]:
    """Return each metric in words, with a row for each of `GROUPS` that it is known of."""
    trials = baseline_and_best(study)
    rows = {}
    for metric in scored_metrics(study):
        note = name_note(metric, str(trials[0]["extractor"])) if trials else ""
        words = f"{METRIC_WORDS.get(metric, metric.replace('_', ' '))} {note}".rstrip()
        found = [_metric_row(study, metric, group, trials) for group in GROUPS]
        rows[words] = [row for row in found if any(value != NO_VALUE for value in row.values)]
    return {words: found for words, found in rows.items() if found}


def _metric_row(
    study: StudyResults, metric: str, group: str, trials: Sequence[pd.Series]
) -> MetricRow:
    score = f"{metric}/{group}"
    values = [float(trial.get(score, math.nan)) for trial in trials]
    cells = [format_metric(metric, value) for value in values]
    if len(values) < 2:
        return MetricRow(group, cells)
    change = format_change(metric, values[1] - values[0])
    of = "" if score == study.objective else f"/{score}"
    return MetricRow(group, [*cells, change], ends_text(trials[1], of))


def scored_metrics(study: StudyResults) -> list[str]:
    """Return the metrics that have words, then all others that the trials were scored by."""
    split = (str(column).rpartition("/") for column in study.trials)
    scored = {metric for metric, _, group in split if metric and group in GROUPS}
    others = {metric for metric in scored if "/" not in metric} - {*METRIC_WORDS, "num_samples"}
    return [*METRIC_WORDS, *sorted(others)]
