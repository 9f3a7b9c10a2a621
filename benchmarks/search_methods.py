"""The ways to search, as trials that the simulation runs on the surrogate."""

import dataclasses
import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import optuna
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.simulation import Quest, SimulatedTraining, StudyNoise, Trial
from benchmarks.surrogate import FULL_SAMPLES, Point, Surrogate
from diffrop.config import OmegaSearch
from diffrop.recipes import digits
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
    space: SearchSpace
    num_trials: int
    num_workers: int

    @property
    def final_images(self) -> int:
        """Images seen at which training ends."""
        return self.surrogate.rungs[-1]


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
        self, setting: Setting, seed: int, noise: StudyNoise, quest: Quest
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
            return self._run(setting, config, tune_trial, scheduler, searcher, noise, quest)

        return begin

    def start_s(self, setting: Setting) -> float:
        """Return when the workers start: once the trunk of the forks is trained."""
        return setting.surrogate.seconds.training(0, self.fork_images)

    def config(self, setting: Setting, seed: int) -> StudyConfig:
        """Return the study's configuration."""
        recipe = digits().experiment.with_values({"evaluation.omega_search": self.omega_search})
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
        quest: Quest,
    ) -> Trial:
        """Train and score from rung to rung, until the engine's own scheduler says stop."""
        point = tune_trial.config
        forked = 0 if point["baseline"] else self.fork_images
        trained = Point.of(point["values"], forked)
        training = SimulatedTraining(setting.surrogate, trained, noise)
        now, result = self.fork_images, {}
        for rung in config.rungs:
            yield setting.surrogate.seconds.training(now, rung.images)
            now = rung.images
            seconds, omega, score = search_omega(setting.surrogate, training, config, rung)
            yield seconds
            reached = RungReached(
                images_seen=now,
                final=rung.final,
                values=(score,),
                scores={"fid/all": score},
                omega=omega,
            )
            result = to_result(reached)
            action = scheduler.on_trial_result(None, tune_trial, result)
            if rung.final and not point["baseline"]:  # the baseline is no point of the space
                quest.complete(trained, omega, score)
            if action == TrialScheduler.STOP:
                break
        searcher.on_trial_complete(tune_trial.trial_id, result)


def search_omega(
    surrogate: Surrogate,
    training: SimulatedTraining,
    config: StudyConfig,
    rung: Rung,
) -> tuple[float, float, float]:
    """Search omega as the engine does; return the seconds, the omega and its score."""
    choices = sampling_choices(config.experiment, rung.num_steps)
    method = config.experiment.evaluation.omega_search
    rounds = plan_rounds(method, choices, rung.num_samples, NUM_CLASSES)
    drawn: dict[SamplingChoice, int] = {}
    seconds = 0.0

    def score(asked: Sequence[SamplingChoice], num_samples: int) -> list[Estimated]:
        nonlocal seconds
        for choice in asked:
            more = num_samples - drawn.get(choice, 0)
            seconds += surrogate.seconds.sampling(more, choice.omega)
            drawn[choice] = num_samples
        fids = [training.fid(rung.images, choice.omega, num_samples) for choice in asked]
        # The surrogate's bias at an N is the same for all: to carry it would change no order.
        return [Estimated({"fid/all": fid}, {"fid/all": fid}) for fid in fids]

    goal = Goal(config.experiment.evaluation.objectives, (), rung.num_samples)
    found = search(choices, rounds, goal, score)
    best = found.best.omega
    return seconds, best, training.fid(rung.images, best, rung.num_samples)


@dataclass(frozen=True)
class PlainOptuna:
    """Optuna's ask and tell, with omega as one more parameter and every trial trained in full."""

    random: bool = False
    common: bool = True

    def begin(
        self, setting: Setting, seed: int, noise: StudyNoise, quest: Quest
    ) -> Callable[[], Trial | None]:
        """Return what begins the next trial."""
        samplers = optuna.samplers
        sampler = samplers.RandomSampler(seed) if self.random else samplers.TPESampler(seed=seed)
        study = optuna.create_study(direction="minimize", sampler=sampler)

        def begin() -> Trial | None:
            if len(study.get_trials(deepcopy=False)) >= setting.num_trials:
                return None
            return self._run(setting, study, noise, quest)

        return begin

    def start_s(self, setting: Setting) -> float:
        """Return when the workers start."""
        return 0.0

    def _run(
        self, setting: Setting, study: optuna.Study, noise: StudyNoise, quest: Quest
    ) -> Trial:
        trial = study.ask()
        values, omega = suggest_with_omega(trial, setting)
        training = SimulatedTraining(setting.surrogate, Point.of(values), noise)
        seconds = setting.surrogate.seconds
        yield seconds.training(0, setting.final_images)
        yield seconds.sampling(FULL_SAMPLES, omega)
        fid = training.fid(setting.final_images, omega, FULL_SAMPLES)
        study.tell(trial, fid)
        quest.complete(Point.of(values), omega, fid)


@dataclass(frozen=True)
class TuneOptunaSearch:
    """Ray Tune's OptunaSearch and ASHA as their documentation puts them together.

    Both classes are Tune's own, called in the order in which its loop calls them. A trial reports
    at the engine's rungs, which are ASHA's rungs too.
    """

    growing_samples: bool = False
    """Score on as many samples as the engine at each rung, instead of the full number."""
    common: bool = True

    def begin(
        self, setting: Setting, seed: int, noise: StudyNoise, quest: Quest
    ) -> Callable[[], Trial | None]:
        """Return what begins the next trial."""
        searcher = OptunaSearch(
            space=lambda trial: suggest_with_omega(trial, setting) and None,
            metric="fid",
            mode="min",
            seed=seed,
        )
        scheduler = ASHAScheduler(
            time_attr="images_seen",
            metric="fid",
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
            return self._run(setting, trial_id, searcher, scheduler, noise, quest)

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
        quest: Quest,
    ) -> Trial:
        values = dict(searcher.suggest(trial_id))
        tune_trial = SimpleNamespace(trial_id=trial_id, config=values)
        omega = values.pop("omega")
        scheduler.on_trial_add(None, tune_trial)
        training = SimulatedTraining(setting.surrogate, Point.of(values), noise)
        seconds, now, result = setting.surrogate.seconds, 0, {}
        for iteration, rung in enumerate(Engine().config(setting, 0).rungs, start=1):
            yield seconds.training(now, rung.images)
            now = rung.images
            num_samples = rung.num_samples if self.growing_samples else FULL_SAMPLES
            yield seconds.sampling(num_samples, omega)
            fid = training.fid(now, omega, num_samples)
            result = {"fid": fid, "images_seen": now, "training_iteration": iteration}
            action = scheduler.on_trial_result(None, tune_trial, result)
            if rung.final:
                quest.complete(Point.of(values), omega, fid)
            if rung.final or action == TrialScheduler.STOP:
                break
            searcher.on_trial_result(trial_id, result)
        searcher.on_trial_complete(trial_id, result)
        scheduler.on_trial_complete(None, tune_trial, result)


def suggest_with_omega(trial: optuna.Trial, setting: Setting) -> tuple[dict[str, Any], float]:
    """Draw a point of the space, and omega from the range of the engine's grid."""
    values = setting.space.suggest(trial)
    scales = digits().experiment.evaluation.guidance_scales
    return values, trial.suggest_float("omega", min(scales), max(scales))


Method = Engine | PlainOptuna | TuneOptunaSearch
BASE = Engine()
FORKS = "  with forks at 10,240 images"
METHODS: dict[str, Method] = {
    "random search": PlainOptuna(random=True),
    "random + ASHA + omega grid": Engine("grid", "asha", "random"),
    "plain Optuna (TPE)": PlainOptuna(),
    "Tune's OptunaSearch + ASHA": TuneOptunaSearch(),
    "the same, samples as the engine's": TuneOptunaSearch(growing_samples=True),
    "this engine": BASE,
    "  omega grid, no halving": dataclasses.replace(BASE, omega_search="grid"),
    "  no pruning": dataclasses.replace(BASE, scheduler="none"),
    "  full samples at every rung": dataclasses.replace(BASE, rung_samples=FULL_SAMPLES),
    "  random points, no TPE": dataclasses.replace(BASE, sampler="random"),
    "  BOHB for TPE": dataclasses.replace(BASE, sampler="bohb"),
    "  Hyperband for the median rule": dataclasses.replace(BASE, scheduler="hyperband"),
    "  ASHA for the median rule": dataclasses.replace(BASE, scheduler="asha"),
    "  no common random numbers": dataclasses.replace(BASE, common=False),
    FORKS: dataclasses.replace(BASE, fork_images=10_240),
}
"""By name; indented ones are the engine with one feature changed."""
