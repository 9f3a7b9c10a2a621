"""The results of a study: one row a trial, ranked."""

import contextlib
import dataclasses
import datetime
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from diffrop.constraints import violations
from diffrop.errors import StorageError
from diffrop.metrics.interval import Interval
from diffrop.record.codec import decode
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.cost import CostRecord
from diffrop.record.cost_account import CostAccount
from diffrop.record.json_files import read_record
from diffrop.record.kinds import name_damage
from diffrop.record.names import trial_label
from diffrop.record.reported import agrees, reported_values
from diffrop.record.score_card import ScoreCard
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trial_folder import TrialFolder
from diffrop.record.trial_state import AUDITED_AT, DRIVER, MESSAGE, PARENT, VALUES, rung_scores
from diffrop.study.config import StudyConfig
from diffrop.study.objectives import FrontPoint, pareto_front
from diffrop.study.ranking import RankedScore, choose_leaders, sort_keys

if TYPE_CHECKING:
    import pandas as pd

CONTRASTIVE_COLUMNS = {
    "contrastive.tau_0": "tau_0",
    "contrastive.decay_temperature": "decay_temperature",
    "contrastive.margin": "margin",
}


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What is known of one trial."""

    number: int
    state: str
    """RUNNING, COMPLETE, PRUNED or FAIL."""
    values: dict[str, Any]
    """Searched keys with their values; the baseline has {"contrastive.form": "none"}."""
    directory: Path
    card: ScoreCard | None
    """The newest score that was reported."""
    duration_s: float
    message: str
    rank: int | None = None
    """Among COMPLETE trials: those that keep the constraints first, then by the objectives."""
    feasible: bool | None = None
    """Whether it keeps the constraints; None where that is unknown, or there are none."""
    front: bool = False
    """Whether a point of it is on the Pareto front."""
    audited_at: int | None = None
    """Images at which it would have been stopped, had it not been drawn for the audit."""
    parent: str = ""
    """Trial and images that it went on from, such as t003@10240 (PBT)."""
    training_key: str = ""
    driver: str = ""
    training_s: float = 0.0
    """Of its training, up to where it came; 0 where an earlier trial trained the same."""
    scoring_s: float = 0.0
    samples_drawn: int = 0
    gpus: float = 0.0
    seed: int | None = None
    """Which of the fresh seeds, if it is a retraining that confirms the trial."""

    @property
    def label(self) -> str:
        """Its short name: t007, or t007-s1 for the retraining with seed 1."""
        return trial_label(self.number, self.seed)

    @property
    def form(self) -> str:
        """The form of the loss."""
        return str(self.values.get("contrastive.form", "-"))

    @property
    def name(self) -> str:
        """The trial in words, such as "t007 reciprocal tau_0=3.2"."""
        tau_0 = self.values.get("contrastive.tau_0")
        strength = "" if tau_0 is None else f" tau_0={tau_0:.3g}"
        return f"{self.label} {self.form}{strength}"

    def row(self, config: StudyConfig) -> dict[str, Any]:
        """Return the trial as a row of trials.csv."""
        row: dict[str, Any] = {
            "number": self.number,
            "name": self.name,
            "state": self.state,
            "rank": self.rank,
            "baseline": self.number == 0,
            "form": self.form,
        }
        for key, column in CONTRASTIVE_COLUMNS.items():
            row[column] = self.values.get(key)
        searched = (parameter.name for parameter in config.space.parameters)
        known = {"contrastive.form", *CONTRASTIVE_COLUMNS}
        row |= {key: self.values.get(key) for key in searched if key not in known}
        row |= {"value": None, "omega": None}
        if self.card is not None:
            card = self.card
            row |= {"value": card.value, "omega": card.omega, **card.scores}
            row |= {f"num_samples/{group}": n for group, n in card.num_samples.items()}
            row |= {"images_seen": card.images_seen, "rung": card.images_seen}
            interval = card.intervals.get(card.objective)
            row |= {"value_low": interval.low if interval else None}
            row |= {"value_high": interval.high if interval else None}
            row |= {"sampler": card.sampler, "extractor": card.extractor}
            row |= {"reference": card.reference}
        return row | {
            "feasible": self.feasible,
            "front": self.front,
            "audited_at": self.audited_at,
            "parent": self.parent,
            "training_key": self.training_key,
            "training_s": round(self.training_s, 3),
            "scoring_s": round(self.scoring_s, 3),
            "samples_drawn": self.samples_drawn,
            "gpus": self.gpus,
            "duration_s": round(self.duration_s, 1),
            "message": self.message,
        }


@dataclass(frozen=True)
class StudyResult:
    """All trials of a study, in order of number."""

    config: StudyConfig
    trials: list[TrialResult] = field(default_factory=list)
    differences: Mapping[int, Interval] = field(default_factory=dict)
    """By number, each ranked trial's objective less the baseline's; see `with_differences`."""
    confirmation: ConfirmationRecord | None = None

    @property
    def ranked(self) -> list[TrialResult]:
        """COMPLETE trials, best first."""
        complete = [trial for trial in self.trials if trial.rank is not None]
        return sorted(complete, key=lambda trial: trial.rank or 0)

    def leaders(self, count: int) -> list[int]:
        """Return the numbers of the trials to confirm, the baseline not among them.

        See `choose_leaders`.
        """
        ranked = [trial for trial in self.ranked if trial.number > 0]
        values = {trial.number: trial.card.values for trial in ranked if trial.card is not None}
        feasible = [trial.number for trial in ranked if trial.feasible is not False]
        return choose_leaders(values, count, feasible)

    @property
    def best(self) -> TrialResult | None:
        """What is exported: the confirmed best, or the leader of the search.

        Where a confirmation named no best it is the baseline, the simpler of equals. One that is
        not of the present leaders decides nothing.
        """
        confirmed = self.confirmation
        if confirmed is None or not confirmed.judged or not confirmed.current:
            return self.ranked[0] if self.ranked else None
        number = confirmed.best or 0
        return next(trial for trial in self.trials if trial.number == number)

    @property
    def frame(self) -> "pd.DataFrame":
        """One row a trial; see `TrialResult.row`."""
        import pandas as pd

        return pd.DataFrame([trial.row(self.config) | self._ends(trial) for trial in self.trials])

    def _ends(self, trial: TrialResult) -> dict[str, float | None]:
        """Return the difference to the baseline with its interval, as columns."""
        known = self.differences.get(trial.number)
        names = ("value", "low", "high")
        return {
            f"difference_{name}": None if known is None else getattr(known, name) for name in names
        }


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
        return StudyResult(self._config, self._in_place(trials))

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
    stored = read_record(folder.cost, CostRecord)
    if stored is not None:
        return stored.began
    with contextlib.suppress(ValueError):
        copy = study.user_attrs.get(folder.cost.stem)
        return decode(CostRecord, copy).began
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


def front_points(
    trials: Sequence[TrialResult], config: StudyConfig, base: Mapping[str, float] | None
) -> list[FrontPoint]:
    """Return the scored points of complete trials, with the front marked; see `pareto_front`."""
    evaluation = config.experiment.evaluation
    points = [
        FrontPoint(trial.number, point.omega, point.sampler, point.scores)
        for trial in trials
        if trial.card is not None
        for point in trial.card.points
    ]
    return pareto_front(points, evaluation.objectives, evaluation.parsed_constraints, base)
