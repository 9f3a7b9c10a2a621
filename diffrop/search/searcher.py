"""The bridge between Ray Tune and an Optuna study, which alone remembers the trials."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from diffrop.errors import OutageError
from diffrop.record.trial_state import (
    AUDITED_AT,
    DRIVER,
    FAILURE,
    IS_BASELINE,
    MESSAGE,
    PARENT,
    RUNGS,
    STOPPED_AT,
    VALUES,
    Failed,
    RungReached,
    RungScore,
    Stopped,
    TrialReport,
    read_report,
    rung_scores,
)
from diffrop.search.optuna_private import open_trial
from diffrop.search.ownership import PeerDrivers, locked, unfinished
from diffrop.search.planner import Planner
from diffrop.search.rung_scores import RungScores, judged_violations
from diffrop.search.sampler_view import SamplerView
from diffrop.search.warm_start import recall
from diffrop.study.config import StudyConfig

COOL_DOWN_S = 20.0
"""A trial that was stopped by its node is not handed out again for so long."""


WORKER_LOST = (
    "a worker failed more often than max_failures allows; its log is in the trial's folder"
)


REFRESH_S = 2.0
"""Other drivers' scores and trials are read no more often than this."""


@dataclass
class Running:
    """A trial that this driver runs."""

    trial: optuna.Trial
    number: int
    scores: dict[int, RungScore] = field(default_factory=dict)
    audited_at: int | None = None
    stopped_at: int | None = None
    same_as: int | None = None
    """The first earlier trial at the same point."""


class OptunaStudySearcher(Searcher):
    """Suggests Optuna's trials to Tune, and reports their results to Optuna.

    A trial is COMPLETE with its final score, PRUNED with its intermediate ones if the scheduler
    stopped it, and FAIL if it raised or its score is not finite. One that returned before, as it
    does when it is asked to, stays RUNNING. What an earlier launch, or a driver that is gone, left
    unfinished is handed out first, under its own number.

    If the database is away for longer than the study waits, no trial begins and none ends: each
    stays RUNNING as the database has it. Tune would count an exception as the trial's own failure.
    """

    def __init__(
        self,
        study: optuna.Study,
        config: StudyConfig,
        max_concurrent: int = 1,
        peers: PeerDrivers | None = None,
        forkable: Callable[[int, int], bool] = lambda number, images: True,
        may_begin: Callable[[], bool] = lambda: True,
        num_trials: int | None = None,
        outage: Callable[[str], object] = lambda what: None,
        scored: Callable[[optuna.Trial], object] = lambda trial: None,
    ) -> None:
        """Take up the study where it stands.

        Args:
            study: the real one.
            config: of the study.
            max_concurrent: trials at a time.
            peers: other drivers; None if there are none.
            forkable: whether a trial's checkpoint at so many images can be forked from.
            may_begin: asked before each trial; False ends the launch, as a spent budget does.
            num_trials: how many of the study's trials, from the first on, may begin; None is all.
            outage: told what was away for longer than a trial waits.
            scored: told of a trial with a new score, before that may end it.
        """
        super().__init__()
        self._study, self._config = study, config
        self._peers = peers or PeerDrivers()
        self._may_begin = may_begin
        self._outage, self._scored = outage, scored
        self._num_trials = config.num_trials if num_trials is None else num_trials
        self._rungs = {rung.images: rung for rung in config.rungs}
        self._constraints = config.experiment.evaluation.parsed_constraints
        self._running: dict[str, Running] = {}
        self._cooling_down: dict[int, float] = {}  # until when, by trial
        self._interrupted: set[int] = set()
        self.rung_scores = RungScores(config)
        view = SamplerView(config, max_concurrent, recall(study, config.space))
        self._planner = Planner(study, config, view, self.rung_scores, forkable)
        self._waits = False
        self.refresh()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle as nothing: Tune stores its search for a restore that we do not use."""
        return {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept whatever Tune says: the study knows its objective."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial, None to be asked again, FINISHED if there is nothing left.

        A trial is its number, its values by configuration key, whether it is the baseline, and
        `parent` ({"trial", "images"}, or None), from whose checkpoint it goes on.
        """
        try:
            return self._next(trial_id)
        except OutageError:  # of which whoever waited for the database has told
            return str(Searcher.FINISHED)

    def _next(self, trial_id: str) -> dict[str, Any] | str | None:
        if not self._may_begin():
            return str(Searcher.FINISHED)
        if self._read_at > time.monotonic() - REFRESH_S and self._waits:
            return None
        with locked(self._peers.lock) as held:
            if not held:
                return None  # another driver waits in there for the database
            trials = self.refresh()
            now = time.monotonic()
            cooling_down = {number for number, until in self._cooling_down.items() if until > now}
            ours = self._numbers | self._interrupted | cooling_down
            allowed = trials[: self._num_trials]
            left = unfinished(allowed, self._peers, ours)
            self._waits = False
            if left:
                running = self._take_over(left[0], trials)
            elif len(trials) < self._num_trials:
                running = self._begin(len(trials), trials)
            else:
                self._waits = bool(cooling_down) or self._others_run(allowed)
                return None if self._waits else str(Searcher.FINISHED)
        self._running[trial_id] = running
        attributes = running.trial.user_attrs
        return {
            "number": running.number,
            "baseline": attributes[IS_BASELINE],
            "values": attributes[VALUES],
            "parent": attributes.get(PARENT),
        }

    def refresh(self) -> list[FrozenTrial]:
        """Read the study, bring the scores by rung up to date and return all trials by number."""
        trials = self._study.get_trials(deepcopy=False)
        self.rung_scores.sync(trials)
        self._read_at = time.monotonic()
        return trials

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Store the score of a rung, once."""
        report = read_report(result)
        if isinstance(report, RungReached):
            with contextlib.suppress(OutageError):
                self._store_score(self._running[trial_id], report)

    def _store_score(self, running: Running, report: RungReached) -> None:
        images, values = report.images_seen, report.finite_values
        if values is None or images not in self._rungs or images in running.scores:
            return  # a restarted trial reports its earlier rungs again
        scores = {c.score: float(report.scores[c.score]) for c in self._constraints}
        score = RungScore(values, self._rungs[images].num_samples, scores)
        known = {**running.scores, images: score}
        rows = {str(at): found.to_dict() for at, found in known.items()}
        with _unless_ended_elsewhere():
            running.trial.set_user_attr(RUNGS, rows)
            if len(values) == 1:
                running.trial.report(values[0], images)
            self._scored(running.trial)
        running.scores = known  # once it is stored, and not before
        self.rung_scores.add(running.number, images, score)

    def keeps(self, trial_id: str, images: int) -> bool:
        """Return whether the study's rule lets a trial go on from a rung that it has scored.

        A restarted trial reports its earlier rungs again: those it has passed for good.
        """
        if any(at > images for at in self._running[trial_id].scores):
            return True
        if time.monotonic() - self._read_at > REFRESH_S:
            self.refresh()
        return self.rung_scores.goes_on(self._running[trial_id].number, images)

    def stop(self, trial_id: str, images: int) -> None:
        """Note that a trial ends at a rung."""
        self._running[trial_id].stopped_at = images

    def audit(self, trial_id: str, images: int) -> None:
        """Note that a trial should stop at a rung, and runs on."""
        running = self._running[trial_id]
        running.audited_at = images
        with _unless_ended_elsewhere():
            running.trial.set_user_attr(AUDITED_AT, images)
        self.rung_scores.audit(running.number, images)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Report to the study how a trial ended."""
        running = self._running.pop(trial_id)
        report = None if error else read_report(result)
        try:
            self._note_end(running, report, error)
        except OutageError:
            self._interrupted.add(running.number)

    def _note_end(self, running: Running, report: TrialReport | None, error: bool) -> None:
        if isinstance(report, RungReached):
            self._store_score(running, report)
        with _unless_ended_elsewhere():
            match report:
                case _ if error:
                    self._end(running, TrialState.FAIL, None, WORKER_LOST)
                case Failed(message=message):
                    self._fail(running, message)
                case RungReached(final=True):
                    self._complete(running, report.finite_values)
                case Stopped(outage=what):
                    if what:
                        self._outage(what)
                    # It goes on in this launch or the next, but not on a node that empties.
                    self._cooling_down[running.number] = time.monotonic() + COOL_DOWN_S
                case _ if running.stopped_at is not None:
                    images = running.stopped_at
                    running.trial.set_user_attr(STOPPED_AT, images)
                    self._end(running, TrialState.PRUNED, None, f"stopped at {images:,} images")
                case _:
                    self._interrupted.add(running.number)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study's storage holds everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a new searcher takes the study up where it stands."""

    @property
    def _numbers(self) -> set[int]:
        return {running.number for running in self._running.values()}

    def _others_run(self, trials: Sequence[FrozenTrial]) -> bool:
        mine = self._numbers | self._interrupted
        return any(not t.state.is_finished() and t.number not in mine for t in trials)

    def _begin(self, number: int, trials: Sequence[FrozenTrial]) -> Running:
        """Make a new trial."""
        plan = self._planner.plan(number, trials)
        self._planner.fix(plan)
        trial = self._study.ask()
        trial.set_user_attr(DRIVER, self._peers.driver)
        self._planner.fill(trial, plan)
        return Running(trial, trial.number, same_as=_first_alike(trial, trials))

    def _take_over(self, frozen: FrozenTrial, trials: Sequence[FrozenTrial]) -> Running:
        """Go on with a trial that was left behind, even before it had all its values."""
        trial = open_trial(self._study, frozen)
        trial.set_user_attr(DRIVER, self._peers.driver)
        if VALUES not in frozen.user_attrs:
            plan = self._planner.plan(frozen.number, trials, frozen.params)
            self._planner.fix(plan)
            self._planner.fill(trial, plan)
        audited_at = frozen.user_attrs.get(AUDITED_AT)
        same_as = _first_alike(trial, trials)
        return Running(trial, frozen.number, rung_scores(frozen), audited_at, None, same_as)

    def _complete(self, running: Running, values: tuple[float, ...] | None) -> None:
        if values is None:
            self._fail(running, "the score is missing or not finite")
            return
        final = self._config.rungs[-1].images
        score, baseline = running.scores.get(final), self.rung_scores.baseline(final)
        if score is not None:
            judged = judged_violations(score, baseline, self._constraints, full=True)
            for text, excess in judged.items():
                running.trial.set_constraint(text, excess)
        at = running.audited_at
        message = "" if at is None else f"was to stop at {at:,} images; ran on as an audit"
        self._end(running, TrialState.COMPLETE, values, message)

    def _fail(self, running: Running, message: str) -> None:
        """End a trial that failed by its own doing: the search sampler keeps away from it."""
        running.trial.set_user_attr(FAILURE, True)
        self._end(running, TrialState.FAIL, None, message)

    def _end(
        self,
        running: Running,
        state: TrialState,
        values: tuple[float, ...] | None,
        message: str,
    ) -> None:
        if running.same_as is not None:
            message = f"{message}; " if message else ""
            message += f"the same point as trial {running.same_as}"
        if message:
            running.trial.set_user_attr(MESSAGE, message)
        self._study.tell(running.trial, values, state, skip_if_finished=True)


def _first_alike(trial: optuna.Trial, trials: Sequence[FrozenTrial]) -> int | None:
    """Return the first trial before this one that trains the same."""
    mine = trial.user_attrs
    for other in trials[: trial.number]:
        theirs = other.user_attrs
        if theirs.get(VALUES) == mine[VALUES] and theirs.get(PARENT) == mine.get(PARENT):
            return other.number
    return None


def _unless_ended_elsewhere() -> contextlib.AbstractContextManager[None]:
    """Let a trial be that another driver took over, believing this one gone, and ended."""
    return contextlib.suppress(UpdateFinishedTrialError)
