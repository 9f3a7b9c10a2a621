"""Trials of earlier studies that the sampler of a new one may learn from.

A trial matches where it is, setting by setting, one that the new study could run: its searched
values lie in the new space, and all else that its scores depend on is equal. Which settings were
searched and which were fixed does not matter.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from diffrop.errors import StudyError
from diffrop.record.json_files import write_record
from diffrop.record.study_folder import StudyFolder
from diffrop.record.study_store import FINGERPRINTS, StudyStore
from diffrop.record.trial_state import FAILURE, PARENT, RUNGS, RungScore, rung_scores
from diffrop.record.warm_start import WarmStartRecord
from diffrop.schema import flatten
from diffrop.search.sampler_view import KnownStudy
from diffrop.study.config import StudyConfig
from diffrop.study.rung import Rung
from diffrop.study.space import SearchSpace
from diffrop.training.identity import PACE_KEYS

# Names of the attributes of Optuna's study.
KNOWN, NOTES = "warm_start", "warm_start_notes"


# Seeds are noise; the others change no score.
FREE_KEYS = (
    "training.seed",
    "evaluation.seed",
    "data.root",
    "data.reference_root",
    *PACE_KEYS,
    "evaluation.metrics",
    "evaluation.extractor_weights",
)


@dataclass(frozen=True)
class WarmStart:
    """What was found in the studies that `warm_start` names."""

    studies: tuple[dict[str, Any], ...]
    """By study, as plain data: name, baseline's scores, trials."""
    notes: tuple[str, ...]
    """One sentence a study: how many trials match, and why the others do not."""


def gather(
    config: StudyConfig,
    runs_root: Path,
    fingerprints: Mapping[str, str] | None = None,
    storage: str | None = None,
) -> WarmStart:
    """Read the studies that `config.warm_start` names; nothing is written.

    Args:
        config: the new study.
        runs_root: folder of all studies.
        fingerprints: what scores depend on beside the configuration, such as the images' digest;
            compared with those of the earlier study, where it is known.
        storage: Optuna's storage URL of studies that have no database in their folder.

    Raises:
        ValueError: a study is missing or damaged.
    """
    studies, notes = [], []
    for name in config.warm_start:
        there, trials, known = _open(StudyStore(runs_root, name), storage)
        differing = _differing(there, config, known, fingerprints or {})
        reasons: Counter[str] = Counter()
        records = []
        for trial in trials[1:]:  # the baseline is trial 0 of every study
            found = differing or _record(trial, there, config)
            if isinstance(found, str):
                reasons[found] += 1
            else:
                records.append(found)
        base = _kept_rungs(trials[0], there, config) if trials else {}
        studies.append({"name": name, "baseline": base, "trials": records})
        notes.append(_note(name, len(records), reasons))
    return WarmStart(tuple(studies), tuple(notes))


def remember(study: optuna.Study, found: WarmStart) -> None:
    """Keep what was gathered in the new study, for its restarts."""
    study.set_user_attr(KNOWN, list(found.studies))
    study.set_user_attr(NOTES, list(found.notes))


def write_notes(folder: StudyFolder, found: WarmStart) -> None:
    """Write into a study's folder what it knew from earlier ones; no file without any."""
    if found.notes:
        write_record(folder.warm_start, WarmStartRecord(notes=found.notes))


def recall(study: optuna.Study, space: SearchSpace) -> list[KnownStudy]:
    """Return the earlier studies that a study was started with."""
    return [
        KnownStudy(
            name=known["name"],
            trials=[_trial(record, space) for record in known["trials"]],
            baseline={int(at): RungScore.from_dict(row) for at, row in known["baseline"].items()},
        )
        for known in study.user_attrs.get(KNOWN, [])
    ]


def _open(
    store: StudyStore, storage: str | None
) -> tuple[StudyConfig, list[FrozenTrial], dict[str, str]]:
    """Return a study's configuration, trials and fingerprints; ValueError if unreadable."""
    try:
        there = store.read_config()
        with store.open_read_only(None if store.folder.database.exists() else storage) as study:
            return there, study.get_trials(deepcopy=False), study.user_attrs.get(FINGERPRINTS, {})
    except (ValueError, StudyError) as error:
        raise ValueError(
            f"warm_start {store.name!r}: {error}; allowed: studies of {store.path.parent}"
        ) from error


def _differing(
    there: StudyConfig,
    here: StudyConfig,
    known: Mapping[str, str],
    fingerprints: Mapping[str, str],
) -> str | None:
    """Return in what all trials of a study differ, None if in nothing."""
    if there.fork_from != here.fork_from:
        return f"fork_from is {there.fork_from} there and {here.fork_from} here"
    for key, value in fingerprints.items():
        if known.get(key, value) != value:
            return f"{key} is {known[key]} there and {value} here"
    return None


def _record(trial: FrozenTrial, there: StudyConfig, here: StudyConfig) -> dict[str, Any] | str:
    """Return a trial in terms of this study's space, or why it does not match."""
    if not trial.state.is_finished():
        return "it has not ended"
    if PARENT in trial.user_attrs:
        return "it went on from another trial's checkpoint"
    failed = trial.user_attrs.get(FAILURE, False)
    if trial.state == TrialState.FAIL and not failed:
        return "it was lost"
    point = _point(trial.params, there, here)
    if isinstance(point, str):
        return point
    rungs = _kept_rungs(trial, there, here)
    if trial.state == TrialState.PRUNED and not rungs:
        return "it was stopped at a rung that this study has not"
    return {"params": point, "state": trial.state.name, "rungs": rungs, "failure": failed}


def _point(
    values: Mapping[str, Any], there: StudyConfig, here: StudyConfig
) -> dict[str, Any] | str:
    theirs = flatten(there.experiment.with_values(values).to_dict())
    point: dict[str, Any] = {}
    for parameter in here.space.parameters:
        if parameter.asked(point):
            value = theirs.get(parameter.name)
            try:
                point[parameter.name] = parameter.checked_value(value)
            except ValueError as error:
                allowed = str(error).partition("allowed: ")[2]
                return f"{parameter.name} is none of {allowed}"
    ours = flatten(here.experiment.with_values(point).to_dict())
    for key, value in ours.items():
        if key not in FREE_KEYS and theirs[key] != value:
            return f"{key} is {theirs[key]} there and {value} here"
    return point


def _kept_rungs(
    trial: FrozenTrial, there: StudyConfig, here: StudyConfig
) -> dict[str, dict[str, Any]]:
    """Return a trial's scores at the rungs that both studies have, as plain data."""
    same = _by_images(there.rungs).items() & _by_images(here.rungs).items()
    images = {at for at, _ in same}
    return {str(at): row.to_dict() for at, row in rung_scores(trial).items() if at in images}


def _by_images(rungs: Sequence[Rung]) -> dict[int, Rung]:
    return {rung.images: rung for rung in rungs}


def _trial(record: Mapping[str, Any], space: SearchSpace) -> FrozenTrial:
    """Build Optuna's trial from what `gather` kept."""
    state, rungs = TrialState[record["state"]], record["rungs"]
    complete = state == TrialState.COMPLETE
    final = max(rungs, key=int, default=None)
    attributes = {RUNGS: rungs} | ({FAILURE: True} if record["failure"] else {})
    ranges = {parameter.name: parameter.distribution() for parameter in space.parameters}
    return optuna.trial.create_trial(
        state=state,
        values=rungs[final]["values"] if complete and final is not None else None,
        params=dict(record["params"]),
        distributions={key: ranges[key] for key in record["params"]},
        user_attrs=attributes,
    )


def _note(name: str, num_matching: int, reasons: Mapping[str, int]) -> str:
    total = num_matching + sum(reasons.values())
    known = f"{num_matching} of {total} trials of {name!r} are known to the sampler"
    why = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
    return f"{known}; not the others: {why}" if why else known
