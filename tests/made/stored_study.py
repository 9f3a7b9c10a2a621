"""Writes the folder of a study as the engine leaves it, by the record's own writers."""

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from diffrop.record.cost import CostRecord
from diffrop.record.json_files import write_record
from diffrop.record.result_reader import ResultReader
from diffrop.record.results import StudyResult
from diffrop.record.score_card import ScoreCard, write_score
from diffrop.record.settings import write_settings
from diffrop.record.study_folder import StudyFolder
from diffrop.record.study_store import StudyStore
from diffrop.record.trainings import Row, StoredTraining, TrainingSegment
from diffrop.record.trial_folder import TrialFolder
from diffrop.record.trial_state import MESSAGE, RUNGS, VALUES, RungScore
from diffrop.storage import write_atomically
from diffrop.study.config import STUDY_FORMAT, LaunchConfig, StudyConfig


@dataclass(frozen=True, kw_only=True)
class MadeTrial:
    """What a trial is to leave behind."""

    number: int
    state: str = "COMPLETE"
    values: Mapping[str, Any] = field(default_factory=dict)
    """The searched keys."""
    cards: Sequence[ScoreCard] = ()
    """Its scores; all of them were reported."""
    training: str | None = None
    """The key of its training; None leaves it without one."""
    message: str = ""
    duration_s: float = 1.0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Further attributes of Optuna's trial."""

    def frozen(self, objectives: Sequence[str]) -> FrozenTrial:
        """The trial as Optuna's study holds it."""
        rungs = {
            str(card.images_seen): RungScore(tuple(card.values), card.num_samples["all"]).to_dict()
            for card in self.cards
        }
        state = TrialState[self.state]
        made = optuna.trial.create_trial(
            state=state,
            values=[self.cards[-1].scores[name] for name in objectives]
            if state is TrialState.COMPLETE
            else None,
            user_attrs={
                VALUES: dict(self.values),
                RUNGS: rungs,
                MESSAGE: self.message,
                **self.attributes,
            },
        )
        end = datetime.datetime.now()
        made.datetime_start = end - datetime.timedelta(seconds=self.duration_s)
        made.datetime_complete = end if state.is_finished() else None
        return made


def store_training(
    store: Path,
    key: str,
    *,
    segments: Sequence[TrainingSegment] = (),
    rows: Sequence[Row] = (),
    parent: str | None = None,
) -> StoredTraining:
    """Write a training without its weights.

    Args:
        store: the folder of all trainings.
        key: of the training.
        segments: what it took.
        rows: of its curves.
        parent: the key of the checkpoint that it forks from.
    """
    training = StoredTraining(store / key)
    training.path.mkdir(parents=True)
    identity = {"key": key, "parent": parent, "seed": 0}
    write_atomically(training.identity_path, json.dumps(identity))
    for segment in segments:
        training.add_segment(segment)
    for row in rows:
        training.add_curve_row(row)
    return training


def store_trial(
    folder: TrialFolder, store: Path, key: str | None, cards: Sequence[ScoreCard] = ()
) -> TrialFolder:
    """Write the folder of a trial or retraining: its training's link and its scores."""
    folder.path.mkdir(parents=True, exist_ok=True)
    if key is not None:
        folder.use_training(key, store)
    for card in cards:
        write_score(folder.score_path(card.images_seen), card)
    return folder


def store_study(
    root: Path,
    config: StudyConfig,
    trials: Sequence[MadeTrial],
    command: str = "command",
    launch: LaunchConfig | None = None,
    fingerprints: Mapping[str, str] | None = None,
) -> tuple[StudyStore, optuna.Study]:
    """Write a study with its database, of which nothing has been exported yet.

    Args:
        root: the runs folder.
        config: of the study.
        trials: by number, 0, 1, ...
        command: of its start.
        launch: which names the database.
        fingerprints: what its scores depend on beside the configuration.
    """
    store = StudyStore(root, config.name)
    study = store.create(config, command, launch or LaunchConfig(), fingerprints or {})
    _add_trials(study, store.folder, config, trials)
    return store, study


def store_results(
    directory: Path,
    config: StudyConfig,
    trials: Sequence[MadeTrial],
    cost: CostRecord | None = None,
    **settings: Any,
) -> StudyResult:
    """Write a study without a database, and return its results, which are not written.

    Args:
        directory: of the study; its name need not be the study's.
        config: of the study.
        trials: by number; some may be missing.
        cost: what plan.json holds; without it, whatever lies in the store is of earlier studies.
        settings: take the place of keys of study.yaml.
    """
    folder = StudyFolder(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if cost is not None:
        write_record(folder.cost, cost)
    content = {"format": STUDY_FORMAT, "command": "command", **config.to_dict(), **settings}
    write_settings(folder, content)
    objectives = config.experiment.evaluation.objectives
    study = optuna.create_study(directions=["minimize"] * len(objectives))
    known = {trial.number: trial for trial in trials}
    every = [known.get(n, MadeTrial(number=n, state="FAIL")) for n in range(max(known) + 1)]
    _add_trials(study, folder, config, every, set(known))
    result = ResultReader(study, folder, config).read()
    return StudyResult(config, [trial for trial in result.trials if trial.number in known])


def _add_trials(
    study: optuna.Study,
    folder: StudyFolder,
    config: StudyConfig,
    trials: Sequence[MadeTrial],
    with_folder: set[int] | None = None,
) -> None:
    objectives = config.experiment.evaluation.objectives
    for trial in trials:
        study.add_trial(trial.frozen(objectives))
        if with_folder is None or trial.number in with_folder:
            store_trial(folder.trial(trial.number), folder.store, trial.training, trial.cards)
