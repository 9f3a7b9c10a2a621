"""Stopping trials at rungs, by the rule that the study names."""

from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from diffrop.errors import OutageError
from diffrop.record.trial_state import RungReached, read_report
from diffrop.search.searcher import OptunaStudySearcher
from diffrop.study.config import StudyConfig
from diffrop.study.stopping_rules import is_audited


class StudyScheduler(FIFOScheduler):
    """Stops trials at rungs, but never the baseline, nor a trial that has just finished.

    A share of those that should stop runs on as an audit. An audited trial is not judged again,
    and its later scores stop no other.
    """

    def __init__(self, config: StudyConfig, searcher: OptunaStudySearcher) -> None:
        """Judge the trials of a searcher, whose study knows those of other launches too."""
        super().__init__()
        self._config, self._searcher = config, searcher

    def __getstate__(self) -> dict[str, Any]:
        """Pickle as nothing: Tune stores its scheduler for a restore that we do not use."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return CONTINUE or STOP for a trial that reached a rung.

        While the database is away a trial goes on; it will be judged when it is taken up again.
        """
        try:
            return self._judge(trial, result)
        except OutageError:
            return str(TrialScheduler.CONTINUE)

    def _judge(self, trial: Any, result: dict[str, Any]) -> str:
        number, report = trial.config["number"], read_report(result)
        self._searcher.on_trial_result(trial.trial_id, result)  # stored before it is judged
        if not isinstance(report, RungReached) or report.final:
            return str(TrialScheduler.CONTINUE)
        images = report.images_seen
        if trial.config["baseline"] or self._searcher.rung_scores.is_audited(number):
            return str(TrialScheduler.CONTINUE)
        if self._searcher.keeps(trial.trial_id, images):
            return str(TrialScheduler.CONTINUE)
        if is_audited(self._config.seed, self._config.audit_fraction, number):
            self._searcher.audit(trial.trial_id, images)
            return str(TrialScheduler.CONTINUE)
        self._searcher.stop(trial.trial_id, images)
        return str(TrialScheduler.STOP)
