"""The trials of a study as an Optuna study, for the analyses that Optuna has itself."""

import warnings
from typing import TYPE_CHECKING, Any

import pandas as pd

from diffrop.analysis.data.compare import comparable_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.record.results import CONTRASTIVE_COLUMNS

if TYPE_CHECKING:
    import optuna

COLUMNS = {"contrastive.form": "form", **CONTRASTIVE_COLUMNS}
"""Columns of trials.csv whose key is another."""


def searched_columns(study: StudyResults) -> dict[str, dict[str, Any]]:
    """Return each searched parameter that the trials have, by its column in `study.trials`."""
    found = {}
    for item in study.space:
        column = COLUMNS.get(str(item.get("name")), str(item.get("name")))
        ends = [item.get("low"), item.get("high")]
        has_range = all(type(end) in (int, float) for end in ends)
        if column in study.trials and (isinstance(item.get("choices"), list) or has_range):
            found[column] = item
    return found


def optuna_study(study: StudyResults) -> "optuna.Study":
    """Rebuild an Optuna study, in memory, of the comparable trials but the baseline.

    From the frame and not from study.db: that one also holds the values of rungs and of other
    protocols, lies in a database server for some studies, and cannot be read from MLflow.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    columns = searched_columns(study)
    trials = comparable_trials(study)
    trials = trials[~trials["baseline"]].sort_values("number")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        rebuilt = optuna.create_study(direction="minimize")
        values = [
            {
                column: _value(trial[column], item)
                for column, item in columns.items()
                if pd.notna(trial[column]) and trial[column] != ""
            }
            for _, trial in trials.iterrows()
        ]
        ranges = {
            column: _distribution(item, [own[column] for own in values if column in own])
            for column, item in columns.items()
        }
        for own, value in zip(values, trials["value"], strict=True):
            spaces = {column: ranges[column] for column in own}
            rebuilt.add_trial(
                optuna.trial.create_trial(params=own, distributions=spaces, value=float(value))
            )
    return rebuilt


def _value(value: Any, item: dict[str, Any]) -> Any:
    """Return a cell of the frame as the parameter's own type."""
    choices = item.get("choices")
    if choices is not None:
        texts = {str(choice): choice for choice in choices}
        numbers = {float(choice): choice for choice in choices if type(choice) in (int, float)}
        return texts.get(str(value), numbers.get(value, value))
    return int(value) if item.get("integer") else float(value)


def _distribution(
    item: dict[str, Any], values: list[Any]
) -> "optuna.distributions.BaseDistribution":
    """Return the range of a parameter, wide enough for trials that were started outside of it.

    It is the same for all trials, since Optuna's importances refuse ranges that change.
    """
    import optuna

    if item.get("choices") is not None:
        return optuna.distributions.CategoricalDistribution(
            list(dict.fromkeys([*item["choices"], *values]))
        )
    low, high = min([item["low"], *values]), max([item["high"], *values])
    if item.get("integer"):
        return optuna.distributions.IntDistribution(int(low), int(high), log=bool(item.get("log")))
    return optuna.distributions.FloatDistribution(low, high, log=bool(item.get("log")))
