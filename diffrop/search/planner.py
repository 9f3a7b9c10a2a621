"""What a trial is to be, before it has any value: baseline, fixed point, child or suggestion."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.samplers import PartialFixedSampler, RandomSampler
from optuna.trial import FrozenTrial

from diffrop.record.trial_state import FROM_PRIOR, IS_BASELINE, PARENT, REPLACES, VALUES
from diffrop.search.pbt import next_child
from diffrop.search.rung_scores import RungScores
from diffrop.search.sampler_view import SamplerView
from diffrop.study.config import StudyConfig
from diffrop.study.space import FORM_KEY


@dataclass(frozen=True)
class Plan:
    """What a trial is to be."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """By searched key; none for the baseline."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What else Optuna's trial is to have, by the names of `trial_state`."""


class Planner:
    """Plans trials, and gives them their values in the study that everybody sees.

    A plan depends on the study's seed, the trial's number and the history alone: a trial that was
    left behind before it had all its values becomes what it was to be.
    """

    def __init__(
        self,
        study: optuna.Study,
        config: StudyConfig,
        view: SamplerView,
        rung_scores: RungScores,
        forkable: Callable[[int, int], bool],
    ) -> None:
        """Plan for a study.

        Args:
            study: the real one.
            config: of the study.
            view: what the sampler sees of it.
            rung_scores: of its trials.
            forkable: whether a trial's checkpoint at so many images can be forked from.
        """
        self._study, self._config, self._view = study, config, view
        self._rung_scores, self._forkable = rung_scores, forkable

    def plan(
        self, number: int, trials: Sequence[FrozenTrial], drawn: Mapping[str, Any] | None = None
    ) -> Plan:
        """Return what a trial is to be.

        Args:
            number: of the trial.
            trials: of the study.
            drawn: values that it has already.
        """
        config, drawn = self._config, drawn or {}
        self._view.sync(trials, self._rung_scores.baseline)
        if number == 0:
            return Plan()
        if number <= len(config.points):
            return Plan(self._view.suggest(number, {**config.points[number - 1], **drawn}))
        if config.scheduler == "pbt":
            child = next_child(config, number, trials, self._rung_scores, self._forkable)
            if child:
                parent = {"trial": child.parent, "images": child.images}
                attributes = {PARENT: parent, REPLACES: child.replaces}
                return Plan({**child.values, **drawn}, attributes)
        believed = self._view.believed(number)
        values = self._view.suggest(number, {**believed, **drawn})
        return Plan(values, {FROM_PRIOR: True} if believed else {})

    def fix(self, plan: Plan) -> None:
        """Let the real study draw the values of a plan next, so that it shows their ranges.

        `Study.enqueue_trial` would serve new trials alone: one that was left behind draws the
        values that it lacks under its own number.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            base = RandomSampler(self._config.seed)
            self._study.sampler = PartialFixedSampler(dict(plan.values), base)

    def fill(self, trial: optuna.Trial, plan: Plan) -> None:
        """Give a trial of the real study what was planned, once its values are fixed."""
        baseline = trial.number == 0
        values = {FORM_KEY: "none"} if baseline else self._config.space.suggest(trial)
        for name, given in {**plan.attributes, IS_BASELINE: baseline, VALUES: values}.items():
            trial.set_user_attr(name, given)
