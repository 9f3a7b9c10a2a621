"""This project's engine as a way to search: trials that the simulation runs on the surrogate."""

import dataclasses
import itertools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Literal

import optuna
from ray.tune.schedulers import TrialScheduler

from benchmarks.landscapes import START_KEY, Values
from benchmarks.simulation import Leader, SimulatedTraining, StudyNoise, Trial, Truth
from benchmarks.surrogate import FULL_SAMPLES, Surrogate
from diffrop.config import OmegaSearch
from diffrop.record.trial_state import RungReached, to_result
from diffrop.scoring.sampling_search import Estimated, plan_rounds, search
from diffrop.search.scheduler import StudyScheduler
from diffrop.search.searcher import OptunaStudySearcher
from diffrop.study.config import Sampler, StudyConfig
from diffrop.study.objectives import Goal
from diffrop.study.rung import Rung
from diffrop.study.sampling_choice import SamplingChoice, sampling_choices
from diffrop.study.space import SearchSpace

NUM_CLASSES = 10
REDUCTION_FACTOR = 2.0
RUNG_SAMPLES = 200
"""Samples at the first rung, as in the digits recipe; later rungs have more by their images."""


@dataclass(frozen=True)
class Setting:
    """The problem that every method solves, and how much it may spend."""

    surrogate: Surrogate
    truth: Truth
    num_trials: int
    num_workers: int

    @property
    def space(self) -> SearchSpace:
        """What is searched."""
        return self.surrogate.landscape.search_space

    @property
    def final_images(self) -> int:
        """Images seen at which training ends."""
        return self.surrogate.rungs[-1]

    @cached_property
    def plain(self) -> StudyConfig:
        """The engine's study with its defaults: its rungs and its search for omega."""
        return Engine().config(self, 0)

    @cached_property
    def whole_s(self) -> float:
        """Seconds of one whole trial of the baseline's network, with one score."""
        seconds = self.surrogate.seconds({})
        return seconds.training(0, self.final_images) + seconds.sampling(FULL_SAMPLES, 1.0)


class Method(ABC):
    """A way to search."""

    common: bool = True
    """Whether trials share their random numbers."""

    @abstractmethod
    def begin(
        self, setting: Setting, seed: int, noise: StudyNoise, leader: Leader
    ) -> Callable[[], Trial | None]:
        """Return what begins the study's next trial, and returns None once there is no more."""

    def start_s(self, setting: Setting) -> float:
        """Return the time in seconds at which the workers start."""
        return 0.0


@dataclass(frozen=True)
class Engine(Method):
    """A study by this project's engine; the defaults are its own."""

    omega_search: OmegaSearch = "halving"
    scheduler: str = "median"
    sampler: Sampler = "tpe"
    rung_samples: int = RUNG_SAMPLES
    common: bool = True
    prior: Literal["best", "worst"] | None = None
    """The point of the space, without noise, that all parameters' priors are at, with medium
    confidence; None for a space without priors."""
    fork_images: int = 0
    """Images seen at which trials fork from the baseline; 0 means that they do not."""

    def begin(
        self, setting: Setting, seed: int, noise: StudyNoise, leader: Leader
    ) -> Callable[[], Trial | None]:
        """Ask the engine's own searcher."""
        config = self.config(setting, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(direction="minimize")
        searcher = OptunaStudySearcher(study, config, setting.num_workers)
        scheduler = StudyScheduler(config, searcher)
        ids = itertools.count()

        def begin() -> Trial | None:
            trial_id = f"{next(ids):05d}"
            point = searcher.suggest(trial_id)
            if not isinstance(point, dict):
                return None
            tune_trial = SimpleNamespace(trial_id=trial_id, config=point)
            return self._run(setting, config, tune_trial, scheduler, searcher, noise, leader)

        return begin

    def start_s(self, setting: Setting) -> float:
        """Return when the workers start: once the trunk of the forks is trained."""
        return setting.surrogate.seconds({}).training(0, self.fork_images)

    def config(self, setting: Setting, seed: int) -> StudyConfig:
        """Return the study's configuration."""
        recipe = setting.surrogate.landscape.baseline.with_values(
            {"evaluation.omega_search": self.omega_search}
        )
        point = getattr(setting.truth, self.prior) if self.prior else {}
        return StudyConfig(
            name="surrogate",
            space=with_priors(setting.space, point),
            experiment=recipe,
            num_trials=setting.num_trials,
            seed=seed,
            scheduler=self.scheduler,
            sampler=self.sampler,
            reduction_factor=REDUCTION_FACTOR,
            first_rung_images=max(setting.surrogate.rungs[0], 2 * self.fork_images),
            rung_samples=self.rung_samples,
        )

    def _run(
        self,
        setting: Setting,
        config: StudyConfig,
        tune_trial: Any,
        scheduler: StudyScheduler,
        searcher: OptunaStudySearcher,
        noise: StudyNoise,
        leader: Leader,
    ) -> Trial:
        """Train and score from rung to rung, until the engine's own scheduler says stop."""
        point = tune_trial.config
        trained: Values = {} if point["baseline"] else point["values"]
        if trained and self.fork_images:
            trained = {**trained, START_KEY: self.fork_images}
        training = SimulatedTraining(setting.surrogate, trained, noise)
        objective = setting.surrogate.landscape.objective
        now, result = self.fork_images, {}
        for rung in config.rungs:
            yield setting.surrogate.seconds(trained).training(now, rung.images)
            now = rung.images
            seconds, omega, score = search_omega(
                setting.surrogate, trained, training, config, rung
            )
            yield seconds
            reached = RungReached(
                images_seen=now,
                final=rung.final,
                values=(score,),
                scores={objective: score},
                omega=omega,
            )
            result = to_result(reached)
            action = scheduler.on_trial_result(None, tune_trial, result)
            if rung.final and point["baseline"]:  # which is no point of the space
                leader.baseline = score
            elif rung.final:
                leader.complete(trained, omega, score)
            if action == TrialScheduler.STOP:
                if not rung.final:
                    leader.stopped.append(trained)
                break
        searcher.on_trial_complete(tune_trial.trial_id, result)


def with_priors(space: SearchSpace, point: Values) -> SearchSpace:
    """Return a space whose parameters have the values of a point as priors."""
    parameters = [
        dataclasses.replace(parameter, prior=point[parameter.name], confidence="medium")
        if parameter.name in point
        else parameter
        for parameter in space.parameters
    ]
    return SearchSpace(parameters=tuple(parameters))


def search_omega(
    surrogate: Surrogate,
    values: Values,
    training: SimulatedTraining,
    config: StudyConfig,
    rung: Rung,
) -> tuple[float, float, float]:
    """Search omega as the engine does; return the seconds, the omega and its score."""
    choices = sampling_choices(config.experiment, rung.num_steps)
    evaluation = config.experiment.evaluation
    rounds = plan_rounds(evaluation.omega_search, choices, rung.num_samples, NUM_CLASSES)
    drawn: dict[SamplingChoice, int] = {}
    times = surrogate.seconds(values)
    seconds = 0.0

    def score(asked: Sequence[SamplingChoice], num_samples: int) -> list[Estimated]:
        nonlocal seconds
        for choice in asked:
            more = num_samples - drawn.get(choice, 0)
            seconds += times.sampling(more, choice.omega)
            drawn[choice] = num_samples
        found = [training.score(rung.images, choice.omega, num_samples) for choice in asked]
        # The surrogate's bias at an N is the same for all: to carry it would change no order.
        scores: list[dict[str, float]] = [{evaluation.objective: one} for one in found]
        return [Estimated(one, one) for one in scores]

    goal = Goal(evaluation.objectives, (), rung.num_samples)
    best = search(choices, rounds, goal, score).best.omega
    return seconds, best, training.score(rung.images, best, rung.num_samples)
