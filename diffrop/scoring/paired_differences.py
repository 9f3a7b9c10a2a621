"""Paired differences of a study's trials to its baseline, over common random numbers."""

import dataclasses

from torch import Tensor

from diffrop.checkpoint_file import read_checkpoint
from diffrop.errors import CheckpointError
from diffrop.metrics.interval import Interval
from diffrop.metrics.intervals import Estimate, paired_interval
from diffrop.record.results import StudyResult, TrialResult
from diffrop.record.trial_folder import TrialFolder
from diffrop.shot_groups import GROUPS


def with_differences(result: StudyResult) -> StudyResult:
    """Return a study with each ranked trial's scores less the baseline's, as intervals.

    They are the objective and the FID of each shot group.

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
            known = _differences(trial, baseline)
            if known:
                found[trial.number] = known
    return dataclasses.replace(result, differences=found)


def _differences(trial: TrialResult, baseline: TrialResult) -> dict[str, Interval]:
    try:
        ours, theirs = _influence(trial), _influence(baseline)
    except CheckpointError:
        return {}
    assert trial.card is not None and baseline.card is not None  # they are ranked
    names = dict.fromkeys([trial.card.objective, *(f"fid/{group}" for group in GROUPS)])
    return {
        name: paired_interval(
            Estimate(trial.card.scores[name], ours[name].double()),
            Estimate(baseline.card.scores[name], theirs[name].double()),
            ours[f"labels/{name.partition('/')[2]}"],
        )
        for name in names
        if name in ours and name in theirs
    }


def _influence(trial: TrialResult) -> dict[str, Tensor]:
    """Read the influence of a ranked trial's samples on its scores, and their labels.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    path = TrialFolder(trial.directory).influence_path()
    if path is None:
        raise CheckpointError(f"{trial.directory} holds no influence of samples")
    return read_checkpoint(path).tensors
