"""What people chart of a trial, as MLflow metrics: few, so that a page of charts is looked at.

What is left out stands in the record's files, which are artifacts of the same runs. MLflow's UI
orders charts by the part of the key before the last "/", from a to z: the names let FID come
first.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from mlflow.entities import Metric

from diffrop.record.cost_account import CostEntry
from diffrop.record.score_card import ScoreCard
from diffrop.record.trainings import Row
from diffrop.shot_groups import GROUPS

SCORES = tuple(f"{name}/{group}" for name in ("fid", "precision", "recall") for group in GROUPS)
"""The final scores that are logged, beside the objectives: how good and how diverse."""
RUNG_SCORES = SCORES[: len(GROUPS)]
"""The scores of each rung that are logged, beside the objectives."""
CURVES = ("loss/ddpm", "loss/pcl", "loss/cbdm", "pcl/grad_ratio", "grad_norm", "images_per_s")
"""The measures of the curves that are logged."""
FINAL_STEP = 0
"""Of scores that compare between trials: MLflow draws bars of metrics without other steps."""


def numbers(values: Mapping[str, Any], time_s: float, step: int) -> list[Metric]:
    """Return a metric for each value that is a number; null says that nothing was measured."""
    return [
        Metric(key, float(value), round(time_s * 1000), step)
        for key, value in values.items()
        if type(value) in (int, float)
    ]


def beside(score: str, what: str) -> str:
    """Return the key of something told of a score, charted after it: fid_by_rung/all."""
    measure, _, group = score.rpartition("/")
    return f"{measure}_{what}/{group}"


def curve_metrics(row: Row) -> list[Metric]:
    """Return the measures of a row of the curves, which has a time."""
    measures = {key: row[key] for key in CURVES if key in row}
    return numbers(measures, row["time"], row["images_seen"])


def final_scores(card: ScoreCard) -> dict[str, float]:
    """Return the scores of a card that compare between trials, the first objective first."""
    found = dict.fromkeys([*card.objectives, *SCORES])
    return {name: card.scores[name] for name in found if name in card.scores}


def score_metrics(card: ScoreCard) -> list[Metric]:
    """Return a score by its rung; of a final one, also what compares between trials."""
    names = dict.fromkeys([*card.objectives, *RUNG_SCORES])
    rung = {beside(name, "by_rung"): card.scores[name] for name in names if name in card.scores}
    final = final_scores(card) | {"omega": card.omega} if card.final else {}
    return [
        *numbers(final, card.time, FINAL_STEP),
        *numbers(rung, card.time, card.images_seen),
    ]


def cost_metrics(entries: Iterable[CostEntry]) -> list[list[Metric]]:
    """Return, for each segment of training and each score in turn, what all took up to its end."""

    def moment(entry: CostEntry) -> tuple[float, bool]:
        return entry.time, entry.part != "training"

    metrics: list[list[Metric]] = []
    spent: defaultdict[str, float] = defaultdict(float)
    for (time_s, scored), parts in itertools.groupby(sorted(entries, key=moment), moment):
        for entry in parts:
            spent["time/scoring_s" if scored else "time/training_s"] += entry.seconds
            if entry.gpus and not scored:
                spent["time/gpu_hours"] += entry.seconds * entry.gpus / 3600
        metrics.append(numbers(spent, time_s, FINAL_STEP))
    return metrics


def model_metrics(card: ScoreCard, model_id: str) -> list[Metric]:
    """Return the final scores as those of a logged model.

    MLflow logs them on the model's run too, where they are what `score_metrics` logs there.
    """
    written_ms = round(card.time * 1000)
    return [
        Metric(name, value, written_ms, FINAL_STEP, model_id=model_id)
        for name, value in final_scores(card).items()
    ]
