"""The ways to search, as trials that the simulation runs on the surrogate."""

import dataclasses
import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import optuna
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.landscapes import START_KEY, Values
from benchmarks.simulation import OMEGAS, Leader, SimulatedTraining, StudyNoise, Trial, Truth
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
FORK_IMAGES = 10_240


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


@dataclass(frozen=True)
class Engine:
    """A study by this project's engine; the defaults are its own."""

    omega_search: OmegaSearch = "halving"
    scheduler: str = "median"
    sampler: Sampler = "tpe"
    rung_samples: int = RUNG_SAMPLES
    common: bool = True
    """Whether trials share their random numbers."""
    fork_images: int = 0
    """Images seen at which trials fork from the baseline; 0 means that they do not."""

    def begin(
        self, setting: Setting, seed: int, noise: StudyNoise, leader: Leader
    ) -> Callable[[], Trial | None]:
        """Return what begins the study's next trial."""
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
        return StudyConfig(
            name="surrogate",
            space=setting.space,
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
class Oracle:
    """One trial of the best point: what nobody can do better who trains and searches omega."""

    common: bool = True

    def begin(
        self, setting: Setting, seed: int, noise: StudyNoise, leader: Leader
    ) -> Callable[[], Trial | None]:
        """Return what begins the one trial."""
        trials = iter([self._run(setting, noise, leader)])
        return lambda: next(trials, None)

    def start_s(self, setting: Setting) -> float:
        """Return when the workers start."""
        return 0.0

    def _run(self, setting: Setting, noise: StudyNoise, leader: Leader) -> Trial:
        values = setting.truth.best
        training = SimulatedTraining(setting.surrogate, values, noise)
        yield setting.surrogate.seconds(values).training(0, setting.final_images)
        rung = setting.plain.rungs[-1]
        seconds, omega, score = OmegaChoice().score(setting, values, training, rung)
        yield seconds
        leader.complete(values, omega, score)


@dataclass(frozen=True)
class PlainOptuna:
    """Optuna's ask and tell, every trial trained in full."""

    random: bool = False
    omega: OmegaChoice = OmegaChoice()
    common: bool = True

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

    def start_s(self, setting: Setting) -> float:
        """Return when the workers start."""
        return 0.0

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
class TuneOptunaSearch:
    """Ray Tune's OptunaSearch and ASHA as their documentation puts them together.

    Both classes are Tune's own, called in the order in which its loop calls them. A trial reports
    at the engine's rungs, which are ASHA's rungs too.
    """

    growing_samples: bool = True
    """Score on as many samples as the engine at each rung, instead of the full number."""
    omega: OmegaChoice = OmegaChoice()
    common: bool = True

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

    def start_s(self, setting: Setting) -> float:
        """Return when the workers start."""
        return 0.0

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


Method = Engine | Oracle | PlainOptuna | TuneOptunaSearch
BASE = Engine()
AS_PARAMETER = OmegaChoice(on_checkpoint=False)
ORACLE, RANDOM, ENGINE = "oracle", "random points", "this engine"
FORKS = "  with forks at 10,240 images"
METHODS: dict[str, Method] = {
    ORACLE: Oracle(),
    RANDOM: PlainOptuna(random=True),
    "random + ASHA + omega grid": Engine("grid", "asha", "random"),
    "Optuna (TPE)": PlainOptuna(),
    "Tune's OptunaSearch + ASHA": TuneOptunaSearch(),
    ENGINE: BASE,
    "  omega grid, no halving": dataclasses.replace(BASE, omega_search="grid"),
    "  no stopping": dataclasses.replace(BASE, scheduler="none"),
    "  full samples at every rung": dataclasses.replace(BASE, rung_samples=FULL_SAMPLES),
    "  random points, no TPE": dataclasses.replace(BASE, sampler="random"),
    "  BOHB for TPE": dataclasses.replace(BASE, sampler="bohb"),
    "  Hyperband for the median rule": dataclasses.replace(BASE, scheduler="hyperband"),
    "  ASHA for the median rule": dataclasses.replace(BASE, scheduler="asha"),
    "  no common random numbers": dataclasses.replace(BASE, common=False),
    FORKS: dataclasses.replace(BASE, fork_images=FORK_IMAGES),
    "omega a parameter: random points": PlainOptuna(random=True, omega=AS_PARAMETER),
    "omega a parameter: Optuna (TPE)": PlainOptuna(omega=AS_PARAMETER),
    "omega a parameter: OptunaSearch + ASHA, N = 1,000": TuneOptunaSearch(
        growing_samples=False, omega=AS_PARAMETER
    ),
    "omega a parameter: OptunaSearch + ASHA": TuneOptunaSearch(omega=AS_PARAMETER),
}
"""By name; indented ones are the engine with one feature changed. All others search omega on the
checkpoint as the engine does, so that the search is what differs, but for the last ones, which
are as the packages' users would run them."""
