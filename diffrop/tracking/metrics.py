"""Scores, curves and costs as MLflow metrics."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from mlflow.entities import Metric

from diffrop.record.cost_account import CostEntry
from diffrop.record.score_card import ScoreCard
from diffrop.record.trainings import STEP_KEYS, Row
from diffrop.shot_groups import GROUPS

FINAL_STEP = 0
"""Of scores that compare between trials: MLflow draws bars of metrics without other steps."""


def numbers(values: Mapping[str, Any], time_s: float, step: int) -> list[Metric]:
    """Return a metric for each value that is a number; null says that nothing was measured."""
    return [
        Metric(key, float(value), round(time_s * 1000), step)
        for key, value in values.items()
        if type(value) in (int, float)
    ]


def curve_metrics(row: Row) -> list[Metric]:
    """Return the measures of a row of the curves, which has a time."""
    measures = {key: value for key, value in row.items() if key not in STEP_KEYS}
    return numbers(measures, row["time"], row["images_seen"])


def score_metrics(card: ScoreCard) -> list[Metric]:
    """Return a score by its rung; of a final one, also as what compares between trials."""
    counts = {f"num_samples/{name}": count for name, count in card.num_samples.items()}
    values = {"omega": card.omega, "score": card.value} | counts | card.scores
    rung = {f"rung/{key}": value for key, value in values.items()}
    metrics = numbers(rung, card.time, card.images_seen)
    return metrics + (numbers(values, card.time, FINAL_STEP) if card.final else [])


def omega_metrics(card: ScoreCard) -> list[Metric]:
    """Return the scores over the omegas of the chosen sampler.

    FIDs of unequal N do not compare, so each round of the search on fewer samples than the last
    has a curve of its own: `omega_curve_at_N/...`.
    """
    metrics: list[Metric] = []
    for point in card.curve:
        whole = point.num_samples == card.num_samples["all"]
        curve = "omega_curve" if whole else f"omega_curve_at_{point.num_samples}"
        values = {f"{curve}/{name}": value for name, value in point.scores.items()}
        if point.sampler == card.sampler:
            metrics += numbers(values, card.time, round(point.omega * 1000))
    return metrics


def cost_metrics(entries: Iterable[CostEntry]) -> list[list[Metric]]:
    """Return, for each segment of training and each score, what such have cost up to its end."""

    def moment(entry: CostEntry) -> tuple[float, int, bool]:
        return entry.time, entry.images_seen, entry.part != "training"

    metrics: list[list[Metric]] = []
    training: defaultdict[str, float] = defaultdict(float)
    scoring: defaultdict[str, float] = defaultdict(float)
    for (time, images, scored), parts in itertools.groupby(sorted(entries, key=moment), moment):
        for part in parts:
            if scored:
                scoring["cost/scoring_s"] += part.seconds
                scoring["cost/samples_drawn"] += part.samples
            else:
                training["cost/training_s"] += part.seconds
                training["cost/training_gpu_hours"] += part.seconds * part.gpus / 3600
        metrics.append(numbers(scoring if scored else training, time, images))
    return metrics


def model_metrics(card: ScoreCard, model_id: str, digest: str) -> list[Metric]:
    """Return a score's FID of each shot group, as one metric on four data sets.

    The key of MLflow's table leaves the data set out (3.17.2), and four values at one step and
    time are refused as doubles: so each gets a millisecond of its own.
    """
    return [
        Metric(
            "fid",
            card.scores[f"fid/{group}"],
            round(card.time * 1000) + i,
            card.images_seen,
            model_id=model_id,
            dataset_name=group,
            dataset_digest=digest,
        )
        for i, group in enumerate(GROUPS)
        if f"fid/{group}" in card.scores
    ]
