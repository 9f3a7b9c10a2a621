"""Reading the results of a study: from Optuna, the trials' folders and the cost account."""

import dataclasses
import datetime
import os
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from diffrop.constraints import violations
from diffrop.errors import StorageError
from diffrop.record.cost import CostRecord
from diffrop.record.cost_account import CostAccount
from diffrop.record.json_files import read_record
from diffrop.record.kinds import name_damage, read_stored
from diffrop.record.names import trial_label
from diffrop.record.reference_scores import read_reference_scores
from diffrop.record.reported import agrees, reported_values
from diffrop.record.results import StudyResult, TrialResult, front_points
from diffrop.record.score_card import ScoreCard
from diffrop.record.shared_records import shared_copy
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trial_folder import TrialFolder
from diffrop.record.trial_state import (
    AUDITED_AT,
    DRIVER,
    FROM_PRIOR,
    MESSAGE,
    PARENT,
    VALUES,
    rung_scores,
)
from diffrop.study.config import StudyConfig
from diffrop.study.ranking import RankedScore, sort_keys


class ResultReader:
    """Reads a study's trials from Optuna and their scores from disk, and ranks them.

    Trials that have ended do not change: they are read once, unless their score is lost.
    """

    def __init__(
        self,
        study: optuna.Study,
        folder: StudyFolder,
        config: StudyConfig,
        fetch: Callable[[TrialFolder], None] = lambda folder: None,
    ) -> None:
        """Read nothing yet.

        Args:
            study: Optuna's.
            folder: of the study.
            config: of the study.
            fetch: takes over what another node wrote of a trial; StorageError if it cannot.
        """
        self._study, self._folder, self._config, self._fetch = study, folder, config, fetch
        self._ended: dict[int, TrialResult] = {}
        self._places: dict[int, dict[str, Any]] = {}
        self._num_placed = -1
        self._reference_scores: dict[str, Any] | None = None
        self._constraints = config.experiment.evaluation.parsed_constraints
        # What an earlier study trained was paid for by that one.
        self.account = CostAccount(folder, began(study, folder))

    def read(self) -> StudyResult:
        """Return the trials as they stand now; their costs are in `account`."""
        self.account.add_prefixes(self._config.prefix_images)
        trials = []
        for frozen in self._study.get_trials(deepcopy=False):
            known = self._ended.get(frozen.number)
            directory = self._folder.trial(frozen.number)
            fetched = known is not None or fetch_trial(directory, self._fetch)
            trial = known or self._result(frozen, directory)
            scored = trial.card is not None or not rung_scores(frozen)
            if known is None and fetched and scored and frozen.state.is_finished():
                self._ended[frozen.number] = trial
            trials.append(trial)
        if self._reference_scores is None:  # they are there before the first trial
            path = self._folder.reference_scores
            self._reference_scores = read_stored(path, read_reference_scores)
        scores = self._reference_scores or {}
        return StudyResult(self._config, self._in_place(trials), reference_scores=scores)

    def last_cost(self, trial: TrialResult) -> float:
        """Return when the last of a trial's counted costs ended, in seconds since 1970."""
        entries = self.account.of_folder(TrialFolder(trial.directory))
        return max((entry.time for entry in entries), default=0.0)

    def _in_place(self, trials: list[TrialResult]) -> list[TrialResult]:
        """Return the trials with rank, feasibility and place on the front."""
        complete = [t for t in trials if t.state == "COMPLETE" and t.card is not None]
        if len(complete) != self._num_placed:  # they stay complete: only a new one changes places
            self._places, self._num_placed = self._placed(complete), len(complete)
        return [
            dataclasses.replace(trial, **self._places[trial.number])
            if trial.number in self._places
            else trial
            for trial in trials
        ]

    def _placed(self, complete: list[TrialResult]) -> dict[int, dict[str, Any]]:
        """Return rank, feasibility and place on the front of complete trials by number."""
        base = next((t.card.scores for t in complete if t.number == 0 and t.card), None)
        excesses = {t.number: self._excess(t, base) for t in complete}
        scores = [
            RankedScore(tuple(t.card.values), max(0.0, excesses[t.number] or 0.0))
            for t in complete
            if t.card is not None
        ]
        keys = sort_keys(scores)
        order = sorted(range(len(complete)), key=lambda i: (keys[i], complete[i].number))
        points = front_points(complete, self._config, base)
        on_front = {point.number for point in points if point.front}
        return {
            number: {
                "rank": rank,
                "feasible": _feasible(excesses[number]),
                "front": number in on_front,
            }
            for rank, number in enumerate((complete[i].number for i in order), start=1)
        }

    def _excess(self, trial: TrialResult, base: Mapping[str, float] | None) -> float | None:
        """Return by how much a trial breaks the constraints in all, None if that is unknown."""
        unknown = base is None and any(c.to_baseline for c in self._constraints)
        if not self._constraints or unknown or trial.card is None:
            return None
        excess = violations(trial.card.scores, base, self._constraints)
        return sum(max(0.0, part) for part in excess)

    def _result(self, frozen: FrozenTrial, folder: TrialFolder) -> TrialResult:
        attributes = frozen.user_attrs
        reached = max(rung_scores(frozen), default=0)
        start = frozen.datetime_start or datetime.datetime.now()
        end = frozen.datetime_complete or datetime.datetime.now()
        parent = attributes.get(PARENT)
        self.account.add(folder, "trial")
        costs = self.account.of_folder(folder)
        failed = frozen.state is TrialState.FAIL  # it paid for what it trained past its last score
        own = [cost for cost in costs if failed or cost.images_seen <= reached]
        baseline = {"contrastive.form": "none"} if frozen.number == 0 else {}
        return TrialResult(
            number=frozen.number,
            state=frozen.state.name,
            values={**baseline, **attributes.get(VALUES, frozen.params)},
            directory=folder.path,
            card=self._card(frozen, folder),
            duration_s=(end - start).total_seconds(),
            message=attributes.get(MESSAGE, ""),
            audited_at=attributes.get(AUDITED_AT),
            from_prior=attributes.get(FROM_PRIOR, False),
            parent=f"{trial_label(parent['trial'])}@{parent['images']}" if parent else "",
            training_key=folder.training_key() or "",
            driver=attributes.get(DRIVER, ""),
            training_s=sum(cost.seconds for cost in own if cost.part == "training"),
            scoring_s=sum(cost.seconds for cost in own if cost.part != "training"),
            samples_drawn=sum(cost.samples for cost in own),
            gpus=max((cost.gpus for cost in own), default=0.0),
        )

    def _card(self, frozen: FrozenTrial, folder: TrialFolder) -> ScoreCard | None:
        """Return a trial's newest score that was reported; a warning names one that is lost.

        A worker group may have scored once more before it was stopped: that was never reported.
        """
        reported = reported_values(self._study, frozen)
        if not reported:
            return None
        images = max(reported)
        path = folder.score_path(images)
        if not os.path.lexists(path):
            if frozen.state.is_finished():
                name_damage(path, "it is missing")
            return None
        card = folder.score(images)
        if card is not None and not agrees(card, reported[images]):
            name_damage(path, f"it says {card.values}, and Optuna {list(reported[images])}")
            return None
        return card


def began(study: optuna.Study, folder: StudyFolder) -> float:
    """Return when a study began, in seconds since 1970; now, if it has not.

    Where plan.json is damaged or missing, the database has a copy of it.
    """
    stored = read_record(folder.cost, CostRecord) or shared_copy(study, folder.cost, CostRecord)
    if stored is not None:
        return stored.began
    starts = [trial.datetime_start for trial in study.get_trials(deepcopy=False)]
    return min((start.timestamp() for start in starts if start), default=time.time())


def fetch_trial(folder: TrialFolder, fetch: Callable[[TrialFolder], None]) -> bool:
    """Take over what another node wrote of a trial; False if it has to be tried again."""
    try:
        fetch(folder)
    except StorageError as error:  # an outage must not end the study
        warnings.warn(str(error), stacklevel=2)
        return False
    return True


def _feasible(excess: float | None) -> bool | None:
    return None if excess is None else excess <= 0
