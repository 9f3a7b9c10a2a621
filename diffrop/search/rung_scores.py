"""What every trial of a study scored at every rung; Optuna's study holds the original."""

from collections.abc import Iterable, Sequence

from optuna.trial import FrozenTrial

from diffrop.constraints import Constraint, violations
from diffrop.record.trial_state import AUDITED_AT, RungScore, rung_scores
from diffrop.study.config import StudyConfig
from diffrop.study.ranking import RankedScore, count_better, sort_keys
from diffrop.study.stopping_rules import bracket_of, goes_on


def judged_violations(
    score: RungScore,
    baseline: RungScore | None,
    constraints: Sequence[Constraint],
    full: bool,
) -> dict[str, float]:
    """Return by what share each constraint that can be judged is broken; 0 or less if kept.

    A bound in plain numbers says nothing before the full number of samples, and one relative to
    the baseline nothing without its score at the same rung.

    Args:
        score: of the trial.
        baseline: of the baseline, at the same rung.
        constraints: of the study.
        full: whether this is the last rung.
    """
    known = [c for c in constraints if (baseline is not None if c.to_baseline else full)]
    base = None if baseline is None else baseline.scores
    excesses = violations(score.scores, base, known)
    return {c.text: excess for c, excess in zip(known, excesses, strict=True)}


class RungScores:
    """All scores by rung, in memory: deciding on a trial reads no database."""

    def __init__(self, config: StudyConfig) -> None:
        """Begin without trials."""
        self._config = config
        self._constraints = config.experiment.evaluation.parsed_constraints
        self._final = config.rungs[-1].images
        self._early = [rung.images for rung in config.rungs if not rung.final]
        self._rungs: dict[int, dict[int, RungScore]] = {}
        self._audited_at: dict[int, int] = {}
        self._ended: set[int] = set()

    def sync(self, trials: Iterable[FrozenTrial]) -> None:
        """Take up what the study knows of trials that had not ended before."""
        for trial in trials:
            if trial.number in self._ended:
                continue
            for images, score in rung_scores(trial).items():
                self.add(trial.number, images, score)
            if AUDITED_AT in trial.user_attrs:
                self.audit(trial.number, trial.user_attrs[AUDITED_AT])
            if trial.state.is_finished():
                self._ended.add(trial.number)

    def add(self, number: int, images: int, score: RungScore) -> None:
        """Take up one score."""
        self._rungs.setdefault(images, {})[number] = score

    def audit(self, number: int, images: int) -> None:
        """Leave a trial's scores after a rung, where it should have stopped, out of account."""
        self._audited_at[number] = images

    def is_audited(self, number: int) -> bool:
        """Whether a trial should have stopped already, and runs on."""
        return number in self._audited_at

    def goes_on(self, number: int, images: int) -> bool:
        """Return what the study's rule says of a trial at a rung; True if it has no score."""
        ranked_scores = self.ranked_scores(images)
        own = ranked_scores.pop(number, None)
        if own is None:
            return True
        rule, factor = self._config.scheduler, self._config.reduction_factor
        if rule == "hyperband":
            bracket = self._bracket(number)
            if self._early.index(images) < bracket:
                return True
            ranked_scores = {n: s for n, s in ranked_scores.items() if self._bracket(n) == bracket}
        others = list(ranked_scores.values())
        return goes_on(rule, count_better(own, others), len(others), factor)

    def best_first(self, images: int) -> list[int]:
        """Return the numbers of the trials at a rung, best first."""
        ranked_scores = self.ranked_scores(images)
        keys = dict(zip(ranked_scores, sort_keys(list(ranked_scores.values())), strict=True))
        return sorted(ranked_scores, key=lambda number: (keys[number], number))

    def ranked_scores(self, images: int) -> dict[int, RankedScore]:
        """Return how trials stand at a rung, by number; audited ones up to where they stopped."""
        scores = self._rungs.get(images, {})
        return {
            number: RankedScore(score.values, self._violation(images, score))
            for number, score in scores.items()
            if images <= self._audited_at.get(number, images)
        }

    def baseline(self, images: int) -> RungScore | None:
        """Return the baseline's score at a rung, if it is known."""
        return self._rungs.get(images, {}).get(0)

    def _violation(self, images: int, score: RungScore) -> float:
        if not self._constraints:
            return 0.0
        full = images == self._final
        found = judged_violations(score, self.baseline(images), self._constraints, full)
        return sum(max(0.0, excess) for excess in found.values())

    def _bracket(self, number: int) -> int:
        return bracket_of(number, len(self._early), self._config.reduction_factor)
