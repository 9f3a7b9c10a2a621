"""Saved views of the MLflow UI, so that a study's trials compare without any set-up."""

import json
from collections.abc import Sequence
from typing import Any

TRIALS_VIEW = "trials"
"""Of the UI's address: .../#/experiments/ID/runs?viewStateShareKey=trials"""
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # not GenAI, MLflow's default
_GROUPS = ("all", "many", "medium", "few")


def saved_views(objectives: Sequence[str], searched: Sequence[str]) -> dict[str, str]:
    """Return the tags of an experiment that give MLflow's UI (3.15 on) views of its trials.

    Args:
        objectives: scores, the first of which orders the trials.
        searched: keys of the search space, shown as columns.
    """
    scores = dict.fromkeys([*objectives, *(f"fid/{group}" for group in _GROUPS)])
    columns = [f"metrics.`{score}`" for score in [*scores, "omega"]]
    columns += [f"params.`{key}`" for key in searched]
    tags = [f"tags.`{tag}`" for tag in ("state", "form", "feasible", "front", "parent")]
    order = f"metrics.`{objectives[0]}`"
    trials = _view("Trials, best first", "diffrop.trial", order, [*columns, *tags])
    retrained = _view("Confirmation", "diffrop.confirmation", "attributes.`run_name`", columns)
    prefix = "mlflow.sharedViewState."
    return {**_KIND, f"{prefix}{TRIALS_VIEW}": trials, f"{prefix}confirmation": retrained}


def _view(name: str, tag: str, order: str, columns: list[str]) -> str:
    state: dict[str, Any] = {
        "searchFilter": f"tags.`{tag}` LIKE '%'",
        "orderByKey": order,
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "runsHiddenMode": "SHOW_ALL",
    }
    # Twice: the UI keeps the state of a named view as text, and an older one reads it beside.
    return json.dumps({**state, "name": name, "createdAt": 0, "state": json.dumps(state)})
