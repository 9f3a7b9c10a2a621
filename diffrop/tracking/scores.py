"""A score file as MLflow metrics."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric

FINAL_STEP = 0
"""Of scores that compare between trials: MLflow draws bars of metrics without other steps."""


def numbers(values: Mapping[str, Any], time_s: float, step: int) -> list[Metric]:
    """Return a metric for each value that is a number; null says that nothing was measured."""
    return [
        Metric(key, float(value), round(time_s * 1000), step)
        for key, value in values.items()
        if type(value) in (int, float)
    ]


def read_score(path: Path) -> dict[str, Any]:
    """Read a score file; "best" is added: the scores at the best omega and sampler.

    Raises:
        ValueError: it is damaged, or not written to its end yet.
    """
    try:
        score = json.loads(path.read_text(encoding="utf-8"))
        whole, chosen = score["num_samples"].get("all"), (score["omega"], score["sampler"])
        best = next(
            row["scores"]
            for row in score["curve"]
            if (row["omega"], row.get("sampler", score["sampler"])) == chosen
            and row.get("num_samples", whole) == whole
        )
        return {**score, "best": dict(best)}
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no complete score file ({error!r})") from error


def score_metrics(score: Mapping[str, Any]) -> list[Metric]:
    """Return a score by its rung; of a final one, also as what compares between trials."""
    counts = {f"num_samples/{name}": count for name, count in score["num_samples"].items()}
    first = score["values"][0] if "values" in score else score["value"]
    values = {"omega": score["omega"], "score": first} | counts | score["best"]
    rung = {f"rung/{key}": value for key, value in values.items()}
    metrics = numbers(rung, score["time"], score["images_seen"])
    return metrics + (numbers(values, score["time"], FINAL_STEP) if score["final"] else [])


def omega_metrics(score: Mapping[str, Any]) -> list[Metric]:
    """Return the scores over the omegas of the chosen sampler.

    FIDs of unequal N do not compare, so each round of the search on fewer samples than the last
    has a curve of its own: `omega_curve_at_N/...`.
    """
    whole = score["num_samples"].get("all")
    metrics: list[Metric] = []
    for row in score["curve"]:
        count = row.get("num_samples", whole)
        curve = "omega_curve" if count == whole else f"omega_curve_at_{count}"
        values = {f"{curve}/{name}": value for name, value in row["scores"].items()}
        if row.get("sampler", score["sampler"]) == score["sampler"]:
            metrics += numbers(values, score["time"], round(row["omega"] * 1000))
    return metrics


def scoring_cost(score: Mapping[str, Any]) -> dict[str, float]:
    """Return the seconds that a score took and the samples that it drew, as far as is known."""
    cost: dict[str, float] = {}
    if isinstance(parts := score.get("seconds"), dict):
        cost["cost/scoring_s"] = float(sum(parts.values()))
    if drawn := score.get("samples_drawn"):
        cost["cost/samples_drawn"] = float(drawn)
    return cost
