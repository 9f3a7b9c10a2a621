"""ASHA over images seen."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from optuna.trial import FrozenTrial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from diffrop.search.config import StudyConfig


class StudyASHA(ASHAScheduler):
    """ASHA that never stops the baseline, nor a trial that has just finished."""

    def __init__(self, study: StudyConfig, earlier: Sequence[FrozenTrial]) -> None:
        """Rungs as in `study.rungs`; the objective is least at best.

        Args:
            study: rungs and reduction factor.
            earlier: trials of earlier launches, whose rung scores count here too.
        """
        rungs = study.rungs
        super().__init__(
            time_attr="images_seen",
            metric="score",
            mode="min",
            grace_period=rungs[0].images,
            max_t=rungs[-1].images + 1,
            reduction_factor=study.reduction_factor,
        )
        (bracket,) = self._brackets
        for trial in earlier:
            if trial.state.is_finished():
                for images, score in sorted(trial.intermediate_values.items()):
                    known = SimpleNamespace(trial_id=f"optuna-{trial.number}")
                    bracket.on_result(known, images, -score)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return CONTINUE or STOP for a trial that reached a rung."""
        action: str = super().on_trial_result(tune_controller, trial, result)
        keep = trial.config["baseline"] or result.get("final", False)
        return TrialScheduler.CONTINUE if keep else action
