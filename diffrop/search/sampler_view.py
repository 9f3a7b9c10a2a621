"""What the sampler knows: a study in memory, made of the real one's trials at one fidelity.

Optuna's samplers read a study. The real one suits none of them as it is: the baseline has no
parameters (NSGA-II would then find none that all trials share), trials that run may have scored
already (BOHB learns from those), a multi-objective study keeps no value of a stopped trial, and
the trials of earlier studies are in others. So the sampler reads a mirror, and only what it
suggests goes into the real study.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, PartialFixedSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from diffrop.constraints import Constraint
from diffrop.record.trial_state import FAILURE, FROM_PRIOR, RungScore, rung_scores, rungs_reached
from diffrop.search.optuna_private import add_running_trial, ask_in_generation
from diffrop.search.rung_scores import judged_violations
from diffrop.seeds import PRIOR, SUGGESTION, derive_seed
from diffrop.study.config import StudyConfig
from diffrop.study.prior import Finished, draw, probability

MAX_POPULATION = 50


@dataclass(frozen=True)
class KnownStudy:
    """Trials of an earlier study, in terms of this one's space."""

    name: str
    trials: Sequence[FrozenTrial]
    baseline: Mapping[int, RungScore]
    """The baseline of that study by rung, which its own trials compare with."""


@dataclass(frozen=True)
class SamplerReport:
    """How a trial ended, as it is reported to the sampler."""

    state: TrialState
    values: tuple[float, ...] | None = None
    steps: Mapping[int, float] = field(default_factory=dict)
    """Of a stopped trial with one objective: its value by rung."""
    violations: Mapping[str, float] = field(default_factory=dict)


BaselineScore = Callable[[int], RungScore | None]


def sampler_report(
    trial: FrozenTrial,
    fidelity: int | None,
    final: int,
    constraints: Sequence[Constraint],
    baseline: BaselineScore,
    baseline_runs: bool,
) -> SamplerReport | None:
    """Return how a trial counts; None while it is open.

    A trial that scored at the fidelity counts as complete. One that ended without comes behind
    all of those, ordered by how far it came and its score there, as Optuna does; one whose loss
    was not finite comes last. A trial that was lost with its worker says nothing.

    Args:
        trial: of Optuna's study.
        fidelity: images seen at which trials are compared; None is the end of training.
        final: images seen at the end of training.
        constraints: of the study.
        baseline: gives the baseline's score at a rung.
        baseline_runs: whether the baseline's missing scores may yet come.
    """
    scores = rung_scores(trial)
    at = final if fidelity is None else fidelity
    score = scores.get(at)
    if score is not None and (fidelity is not None or trial.state == TrialState.COMPLETE):
        base = baseline(at)
        if base is None and baseline_runs and any(c.to_baseline for c in constraints):
            return None
        judged = judged_violations(score, base, constraints, at == final)
        return SamplerReport(TrialState.COMPLETE, score.values, violations=judged)
    if not trial.state.is_finished():
        return None
    if trial.state == TrialState.FAIL and FAILURE not in trial.user_attrs:
        return SamplerReport(TrialState.FAIL)
    single = all(len(score.values) == 1 for score in scores.values())
    stopped = trial.state == TrialState.PRUNED and single
    return SamplerReport(
        TrialState.PRUNED,
        steps={images: score.values[0] for images, score in scores.items()} if stopped else {},
    )


class SamplerView:
    """The mirror, brought up to date and asked for the next point."""

    def __init__(
        self, config: StudyConfig, max_concurrent: int, known: Sequence[KnownStudy] = ()
    ) -> None:
        """Begin with the trials of earlier studies alone.

        Args:
            config: space, objectives, sampler and seed.
            max_concurrent: trials at a time, which bounds the random start.
            known: earlier studies.
        """
        self._config, self._max_concurrent, self._known = config, max_concurrent, known
        self._constraints = config.experiment.evaluation.parsed_constraints
        self._final = config.rungs[-1].images
        self._begin(None)

    def _begin(self, fidelity: int | None) -> None:
        objectives = self._config.experiment.evaluation.objectives
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(
            storage=self._storage, directions=["minimize"] * len(objectives)
        )
        self._fidelity = fidelity
        self._open: dict[int, optuna.Trial] = {}
        self._ended: set[int] = set()
        self._finished: list[Finished] = []
        for study in self._known:
            for trial in study.trials:
                found = self._outcome(trial, study.baseline.get, baseline_runs=False)
                if found is not None and found.state != TrialState.FAIL:
                    self._tell(self._add(trial, generation=0), found)
                    self._finished.append(Finished(False, found.values))

    def sync(self, trials: Sequence[FrozenTrial], baseline: BaselineScore) -> None:
        """Take up what changed in the real study.

        Args:
            trials: all of it, by number.
            baseline: gives the baseline's score at a rung.
        """
        fidelity = self._choose_fidelity(trials) if self._config.sampler == "bohb" else None
        if fidelity != self._fidelity:
            self._begin(fidelity)
        baseline_runs = bool(trials) and not trials[0].state.is_finished()
        for trial in trials[1:]:  # the baseline is no point of the space
            if trial.number in self._ended or not trial.params:
                continue
            if trial.number not in self._open:
                generation = self._generation(trial.number)
                self._open[trial.number] = self._add(trial, generation)
            found = self._outcome(trial, baseline, baseline_runs)
            if found is not None:
                self._tell(self._open.pop(trial.number), found)
                self._ended.add(trial.number)
                near_priors = trial.user_attrs.get(FROM_PRIOR, False)
                self._finished.append(Finished(near_priors, found.values))

    def believed(self, number: int) -> dict[str, Any]:
        """Return the values that trial `number` takes from the space's priors; {} for none.

        As `suggest`, it depends on the study's seed, the number and the history alone.
        """
        if all(parameter.prior is None for parameter in self._config.space.parameters):
            return {}
        rng = np.random.default_rng(derive_seed(self._config.seed, PRIOR, number))
        if rng.random() >= probability(self._finished, self._config.num_trials):
            return {}
        return draw(self._config.space, rng)

    def suggest(self, number: int, fixed: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the values of trial `number`, with the keys of `fixed` as they stand there.

        The draw depends on the study's seed, the number and the history alone: a study that is
        resumed, or shared by several drivers, does not repeat its random points.
        """
        seed = derive_seed(self._config.seed, SUGGESTION, number) % 2**32
        sampler = make_sampler(self._config, self._max_concurrent, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.sampler = PartialFixedSampler(dict(fixed or {}), sampler)
        trial = ask_in_generation(self._study, self._generation(number))
        self._open[number] = trial
        return self._config.space.suggest(trial)

    def _add(self, trial: FrozenTrial, generation: int) -> optuna.Trial:
        return add_running_trial(self._study, self._storage, trial, generation)

    def _tell(self, trial: optuna.Trial, found: SamplerReport) -> None:
        for step, value in found.steps.items():
            trial.report(value, step)
        for text, violation in found.violations.items():
            trial.set_constraint(text, violation)
        self._study.tell(trial, found.values, found.state)

    def _outcome(
        self, trial: FrozenTrial, baseline: BaselineScore, baseline_runs: bool
    ) -> SamplerReport | None:
        return sampler_report(
            trial, self._fidelity, self._final, self._constraints, baseline, baseline_runs
        )

    def _choose_fidelity(self, trials: Sequence[FrozenTrial]) -> int:
        """Return the highest rung with enough trials for a model (Falkner et al., 2018)."""
        rungs = [rung.images for rung in self._config.rungs]
        everyone = [*trials[1:], *(trial for study in self._known for trial in study.trials)]
        reached = [rungs_reached(trial) for trial in everyone]
        enough = [
            images
            for images in rungs
            if sum(images in seen for seen in reached) >= num_modelled(self._config)
        ]
        return max(enough, default=rungs[0])

    def _generation(self, number: int) -> int:
        earlier = 1 if any(study.trials for study in self._known) else 0
        return earlier + (number - 1) // population_size(self._config)


def num_modelled(config: StudyConfig) -> int:
    """Return how many trials a rung needs before BOHB models it: one more than parameters."""
    return len(config.space.parameters) + 1


def population_size(config: StudyConfig) -> int:
    """Return how many trials a generation of NSGA-II has: a fifth of the study, 4 to 50."""
    return max(4, min(MAX_POPULATION, config.num_trials // 5))


def make_sampler(config: StudyConfig, max_concurrent: int, seed: int) -> BaseSampler:
    """Return the study's sampler, to read a mirror.

    TPE models once `num_startup_trials` trials have finished, those of earlier studies included.
    Up to that many, and the trials that run beside the last of them, are random: at most half of
    the study. NSGA-II draws its first generation at random, and always the parameters that only
    some trials have.

    Args:
        config: sampler, space and number of trials.
        max_concurrent: trials at a time.
        seed: of this sampler.
    """
    if config.sampler == "random":
        return optuna.samplers.RandomSampler(seed)
    if config.sampler == "nsga2":
        return NSGAIISampler(population_size=population_size(config), seed=seed)
    startup = num_startup_trials(config.num_trials, max_concurrent)
    startup = max(1, startup - 1)  # the baseline counts, and is not in the mirror
    if config.sampler == "bohb":
        startup = num_modelled(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(
            n_startup_trials=startup,
            multivariate=True,
            group=True,
            constant_liar=True,
            seed=seed,
        )


def num_startup_trials(num_trials: int, max_concurrent: int) -> int:
    """Return how many trials must have finished before the model suggests.

    With c trials at a time, a suggestion after k finished ones is at least trial number k + 1 and
    at most number k + c, so that num_startup + c - 1 trials come without the model.
    """
    return max(1, num_trials // 2 - (max_concurrent - 1))
