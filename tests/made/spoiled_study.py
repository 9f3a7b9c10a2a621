"""A loaded study some of whose trials went wrong."""

import dataclasses
from collections.abc import Collection

from diffrop.analysis.data.load import StudyResults


def with_worse(study: StudyResults, numbers: Collection[int], factor: float = 10) -> StudyResults:
    """Return the study with all scores and losses of some trials so many times as high."""
    trials, front = study.trials.copy(), study.front
    rows = trials["number"].isin(numbers)
    for name in trials.columns:
        if name.startswith("fid/") or name in ("value", "value_low", "value_high"):
            trials.loc[rows, name] *= factor
    for name in trials.columns:
        if name.startswith("difference_"):
            of = name.partition("/")[2] or "value"
            less = study.trials.loc[rows, of] * (factor - 1)
            trials.loc[rows, name] += less
    if front is not None:
        scores = [name for name in front.columns if "/" in name]
        front = front.copy()
        front.loc[front["number"].isin(numbers), scores] *= factor
    curves, measured = study.curves.copy(), study.measurements.copy()
    losses = curves["number"].isin(numbers) & (curves["measure"] == "loss/ddpm")
    curves.loc[losses, "value"] *= factor
    measured.loc[measured["number"].isin(numbers), "value"] *= factor
    return dataclasses.replace(
        study, trials=trials, front=front, curves=curves, measurements=measured
    )
