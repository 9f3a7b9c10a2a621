"""The bridge between Ray Tune and an Optuna study, which alone remembers the trials."""

import math
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from diffrop.search.config import StudyConfig


class OptunaStudySearcher(Searcher):
    """Suggests Optuna's trials to Tune and tells it their results.

    A trial is COMPLETE with its final score, PRUNED with its intermediate ones if it was stopped
    before, and FAIL if it raised or its score is not finite. Trials that an earlier launch left
    unfinished are handed out first, under their own numbers.
    """

    def __init__(self, study: optuna.Study, config: StudyConfig) -> None:
        """Take up the study where it stands."""
        super().__init__()
        self._study = study
        self._config = config
        self._trials: dict[str, optuna.Trial] = {}
        open_states = (TrialState.RUNNING, TrialState.WAITING)
        self._unfinished = study.get_trials(deepcopy=False, states=open_states)
        self._num_trials = len(study.get_trials(deepcopy=False))

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept whatever Tune says: the study knows its objective."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """Return the next trial: its number, its values by configuration key, if baseline."""
        trial = self._next_trial()
        if trial is None:
            return str(Searcher.FINISHED)
        self._trials[trial_id] = trial
        baseline = trial.number == 0
        trial.set_user_attr("baseline", baseline)
        values = {"contrastive.form": "none"} if baseline else self._config.space.suggest(trial)
        return {"number": trial.number, "baseline": baseline, "values": values}

    def _next_trial(self) -> optuna.Trial | None:
        if self._unfinished:
            frozen = self._unfinished.pop(0)
            return optuna.Trial(self._study, frozen._trial_id)
        if self._num_trials >= self._config.num_trials:
            return None
        self._num_trials += 1
        return self._study.ask()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Store an intermediate value, once per rung."""
        self._store_value(self._trials[trial_id], result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how a trial ended."""
        trial = self._trials.pop(trial_id)
        result = result or {}
        if not error:
            self._store_value(trial, result)
        score = result.get("score")
        if error or "failure" in result or score is None or not math.isfinite(score):
            message = result.get("failure") or (
                "a worker failed more often than max_failures allows; its log is in the trial's "
                "folder" if error else "the score is missing or not finite"
            )  # fmt: skip
            trial.set_user_attr("message", message)
            self._study.tell(trial, state=TrialState.FAIL)
        elif result["final"]:
            self._study.tell(trial, score)
        else:
            trial.set_user_attr("message", f"stopped at {result['images_seen']:,} images")
            self._study.tell(trial, state=TrialState.PRUNED)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study's storage holds everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a new searcher takes the study up where it stands."""

    def _store_value(self, trial: optuna.Trial, result: dict[str, Any]) -> None:
        score, step = result.get("score"), result.get("images_seen")
        if score is None or step is None or not math.isfinite(score):
            return
        known = self._study.get_trials(deepcopy=False)[trial.number].intermediate_values
        if step not in known:  # a restarted trial reports its earlier rungs again
            trial.report(score, step)


def num_remaining(study: optuna.Study, config: StudyConfig) -> int:
    """Return how many trials of a study have not ended, those that have not begun included."""
    ended = [trial.state.is_finished() for trial in study.get_trials(deepcopy=False)]
    return ended.count(False) + max(0, config.num_trials - len(ended))


def make_sampler(config: StudyConfig, max_concurrent: int) -> optuna.samplers.TPESampler:
    """Return TPE over the conditional space, with few random trials.

    The model starts once `num_startup_trials` trials have finished. Up to that many, and the
    trials that run beside the last of them, are random: at most half of the study.
    """
    return optuna.samplers.TPESampler(
        n_startup_trials=num_startup_trials(config.num_trials, max_concurrent),
        multivariate=True,
        group=True,
        seed=config.seed,
    )


def num_startup_trials(num_trials: int, max_concurrent: int) -> int:
    """Return how many trials must have finished before the model suggests.

    With c trials at a time, a suggestion after k finished ones is at least trial number k + 1 and
    at most number k + c, so that num_startup + c - 1 trials come without the model.
    """
    return max(1, num_trials // 2 - (max_concurrent - 1))
