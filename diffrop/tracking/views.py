"""Saved views of the MLflow UI: trials and confirmation with the columns that matter."""

from collections.abc import Sequence

from diffrop.shot_groups import GROUPS
from diffrop.tracking.experiment import CONFIRMED, TRIAL
from diffrop.tracking.mlflow_private import TRAINING_EXPERIMENT, saved_view

TRIALS_VIEW = "trials"
"""Of the UI's address: .../#/experiments/ID/runs?viewStateShareKey=trials"""


def saved_views(objectives: Sequence[str], searched: Sequence[str]) -> dict[str, str]:
    """Return the tags of an experiment that give MLflow's UI (3.15 on) views of its trials.

    Args:
        objectives: scores, the first of which orders the trials.
        searched: keys of the search space, shown as columns.
    """
    scores = dict.fromkeys([*objectives, *(f"fid/{group}" for group in GROUPS)])
    columns = [f"metrics.`{score}`" for score in [*scores, "omega"]]
    columns += [f"params.`{key}`" for key in searched]
    tags = [f"tags.`{tag}`" for tag in ("state", "feasible", "parent")]
    order = f"metrics.`{objectives[0]}`"
    trials = saved_view(
        TRIALS_VIEW, "Trials, best first", _with_tag(TRIAL), order, [*columns, *tags]
    )
    retrained = saved_view(
        "confirmation",
        "Confirmation",
        _with_tag(CONFIRMED),
        "attributes.`run_name`",
        columns,
    )
    return {**TRAINING_EXPERIMENT, **trials, **retrained}


def _with_tag(tag: str) -> str:
    """Return the filter of the runs that have a tag."""
    return f"tags.`{tag}` LIKE '%'"
