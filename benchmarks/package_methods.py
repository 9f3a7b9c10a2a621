"""Optuna and Ray Tune, random points and an oracle as ways to search on the surrogate."""

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import optuna
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.engine_method import REDUCTION_FACTOR, Method, Setting, search_omega
from benchmarks.landscapes import Values
from benchmarks.simulation import OMEGAS, Leader, SimulatedTraining, StudyNoise, Trial
from benchmarks.surrogate import FULL_SAMPLES
from diffrop.study.rung import Rung


@dataclass(frozen=True)
class OmegaChoice:
    """How a method that is not the engine comes to its omega and score at a rung."""

    on_checkpoint: bool = True
    """By the engine's own search on the checkpoint; else omega is one more parameter of the
    training, as in plain use of those packages."""

    def suggest(self, trial: optuna.Trial, setting: Setting) -> dict[str, Any]:
        """Draw a point of the space, and omega where that is a parameter."""
        values = setting.space.suggest(trial)
        if not self.on_checkpoint:
            values["omega"] = trial.suggest_float("omega", *OMEGAS)
        return values

    def score(
        self,
        setting: Setting,
        suggested: Values,
        training: SimulatedTraining,
        rung: Rung,
    ) -> tuple[float, float, float]:
        """Return the seconds, the omega and its score."""
        values = point_of(suggested)
        if self.on_checkpoint:
            return search_omega(setting.surrogate, values, training, setting.plain, rung)
        omega = float(suggested["omega"])
        seconds = setting.surrogate.seconds(values).sampling(rung.num_samples, omega)
        return seconds, omega, training.score(rung.images, omega, rung.num_samples)


def point_of(suggested: Values) -> dict[str, Any]:
    """Return the point of the space, without omega."""
    return {key: value for key, value in suggested.items() if key != "omega"}


@dataclass(frozen=True)
class Oracle(Method):
    """One trial of the best point: what nobody can do better who trains and searches omega."""

    def begin(
        self, setting: Setting, seed: int, noise: StudyNoise, leader: Leader
    ) -> Callable[[], Trial | None]:
        """Return what begins the one trial."""
        trials = iter([self._run(setting, noise, leader)])
        return lambda: next(trials, None)

    def _run(self, setting: Setting, noise: StudyNoise, leader: Leader) -> Trial:
        values = setting.truth.best
        training = SimulatedTraining(setting.surrogate, values, noise)
        yield setting.surrogate.seconds(values).training(0, setting.final_images)
        rung = setting.plain.rungs[-1]
        seconds, omega, score = OmegaChoice().score(setting, values, training, rung)
        yield seconds
        leader.complete(values, omega, score)


@dataclass(frozen=True)
class PlainOptuna(Method):
    """Optuna's ask and tell, every trial trained in full."""

    random: bool = False
    omega: OmegaChoice = OmegaChoice()

    def begin(
        self, setting: Setting, seed: int, noise: StudyNoise, leader: Leader
    ) -> Callable[[], Trial | None]:
        """Return what begins the next trial."""
        samplers = optuna.samplers
        sampler = samplers.RandomSampler(seed) if self.random else samplers.TPESampler(seed=seed)
        study = optuna.create_study(direction="minimize", sampler=sampler)

        def begin() -> Trial | None:
            if len(study.get_trials(deepcopy=False)) >= setting.num_trials:
                return None
            return self._run(setting, study, noise, leader)

        return begin

    def _run(
        self, setting: Setting, study: optuna.Study, noise: StudyNoise, leader: Leader
    ) -> Trial:
        trial = study.ask()
        suggested = self.omega.suggest(trial, setting)
        values = point_of(suggested)
        training = SimulatedTraining(setting.surrogate, values, noise)
        yield setting.surrogate.seconds(values).training(0, setting.final_images)
        rung = setting.plain.rungs[-1]
        seconds, omega, score = self.omega.score(setting, suggested, training, rung)
        yield seconds
        study.tell(trial, score)
        leader.complete(values, omega, score)


@dataclass(frozen=True)
class TuneOptunaSearch(Method):
    """Ray Tune's OptunaSearch and ASHA as their documentation puts them together.

    Both classes are Tune's own, called in the order in which its loop calls them. A trial reports
    at the engine's rungs, which are ASHA's rungs too.
    """

    growing_samples: bool = True
    """Score on as many samples as the engine at each rung, instead of the full number."""
    omega: OmegaChoice = OmegaChoice()

    def begin(
        self, setting: Setting, seed: int, noise: StudyNoise, leader: Leader
    ) -> Callable[[], Trial | None]:
        """Return what begins the next trial."""
        searcher = OptunaSearch(
            space=lambda trial: self.omega.suggest(trial, setting) and None,
            metric="score",
            mode="min",
            seed=seed,
        )
        scheduler = ASHAScheduler(
            time_attr="images_seen",
            metric="score",
            mode="min",
            max_t=setting.final_images,
            grace_period=setting.surrogate.rungs[0],
            reduction_factor=REDUCTION_FACTOR,
        )
        ids = itertools.count()

        def begin() -> Trial | None:
            number = next(ids)
            if number >= setting.num_trials:
                return None
            trial_id = f"{number:05d}"
            return self._run(setting, trial_id, searcher, scheduler, noise, leader)

        return begin

    def _run(
        self,
        setting: Setting,
        trial_id: str,
        searcher: OptunaSearch,
        scheduler: ASHAScheduler,
        noise: StudyNoise,
        leader: Leader,
    ) -> Trial:
        suggested = dict(searcher.suggest(trial_id))
        values = point_of(suggested)
        tune_trial = SimpleNamespace(trial_id=trial_id, config=suggested)
        scheduler.on_trial_add(None, tune_trial)
        training = SimulatedTraining(setting.surrogate, values, noise)
        now, result = 0, {}
        for iteration, rung in enumerate(setting.plain.rungs, start=1):
            yield setting.surrogate.seconds(values).training(now, rung.images)
            now = rung.images
            if not self.growing_samples:
                rung = dataclasses.replace(rung, num_samples=FULL_SAMPLES)
            seconds, omega, score = self.omega.score(setting, suggested, training, rung)
            yield seconds
            result = {"score": score, "images_seen": now, "training_iteration": iteration}
            action = scheduler.on_trial_result(None, tune_trial, result)
            if rung.final:
                leader.complete(values, omega, score)
            elif action == TrialScheduler.STOP:
                leader.stopped.append(values)
            if rung.final or action == TrialScheduler.STOP:
                break
            searcher.on_trial_result(trial_id, result)
        searcher.on_trial_complete(trial_id, result)
        scheduler.on_trial_complete(None, tune_trial, result)
