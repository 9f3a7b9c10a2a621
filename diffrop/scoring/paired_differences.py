"""Paired differences of a study's trials to its baseline, over common random numbers."""

import dataclasses

from torch import Tensor

from diffrop.checkpoint_file import read_checkpoint
from diffrop.errors import CheckpointError
from diffrop.metrics.interval import Interval
from diffrop.metrics.intervals import Estimate, paired_interval
from diffrop.record.results import StudyResult, TrialResult
from diffrop.record.trial_folder import TrialFolder


def with_differences(result: StudyResult) -> StudyResult:
    """Return a study with each ranked trial's objective less the baseline's, as an interval.

    All trials of a study draw their samples from the same noise for the same labels, so that the
    difference is known better than either score. The interval is over samples: it holds neither
    the training seed nor the choice of the best among several trials. A trial whose samples'
    influence is missing or damaged has none, nor has one that was scored under another protocol.
    """
    baseline = next((trial for trial in result.ranked if trial.number == 0), None)
    if baseline is None or baseline.card is None:
        return result
    found = {}
    for trial in result.ranked:
        alike = trial.card is not None and trial.card.protocol == baseline.card.protocol
        if trial is not baseline and alike:
            difference = _difference(trial, baseline)
            if difference is not None:
                found[trial.number] = difference
    return dataclasses.replace(result, differences=found)


def _difference(trial: TrialResult, baseline: TrialResult) -> Interval | None:
    try:
        (ours, labels), (theirs, _) = _estimate(trial), _estimate(baseline)
    except CheckpointError:
        return None
    return paired_interval(ours, theirs, labels)


def _estimate(trial: TrialResult) -> tuple[Estimate, Tensor]:
    """Read a ranked trial's objective with its samples' influence, and their labels."""
    assert trial.card is not None  # it is ranked
    objective = trial.card.objective
    path = TrialFolder(trial.directory).influence_path()
    if path is None:
        raise CheckpointError(f"{trial.directory} holds no influence of samples")
    tensors = read_checkpoint(path).tensors
    labels = tensors[f"labels/{objective.partition('/')[2]}"]
    return Estimate(trial.card.value, tensors[objective].double()), labels
