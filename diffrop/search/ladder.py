"""What every trial of a study scored at every rung; Optuna's study holds the original."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial

from diffrop.search.config import StudyConfig
from diffrop.search.objectives import Constraint, parse_constraints, violations
from diffrop.search.rules import Standing, bracket_of, count_better, goes_on, sort_keys

# Names of the attributes of Optuna's trials.
BASELINE, VALUES, RUNGS, DRIVER = "baseline", "values", "rungs", "driver"
AUDITED_AT, STOPPED_AT, PARENT, REPLACES = "audited_at", "stopped_at", "parent", "replaces"
MESSAGE, FAILURE = "message", "failure"


@dataclass(frozen=True)
class RungScore:
    """The score of one trial at one rung."""

    values: tuple[float, ...]
    """The objectives."""
    num_samples: int
    scores: Mapping[str, float] = field(default_factory=dict)
    """What constraints are about, by name."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        row = {"values": list(self.values), "num_samples": self.num_samples}
        return row | ({"scores": dict(self.scores)} if self.scores else {})

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "RungScore":
        """Build from `to_dict`'s result."""
        return cls(tuple(row["values"]), row["num_samples"], row.get("scores", {}))


def rung_scores(trial: FrozenTrial) -> dict[int, RungScore]:
    """Return a trial's scores by images seen."""
    rows = trial.user_attrs.get(RUNGS, {})
    return {int(images): RungScore.from_dict(row) for images, row in rows.items()}


def rungs_reached(trial: FrozenTrial) -> set[int]:
    """Return the images seen at which a trial was scored."""
    return {int(images) for images in trial.user_attrs.get(RUNGS, {})}


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


class Ladder:
    """All scores by rung, in memory: deciding on a trial reads no database."""

    def __init__(self, config: StudyConfig) -> None:
        """Begin without trials."""
        self._config = config
        self._constraints = parse_constraints(config.experiment.evaluation.constraints)
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
                self.note(trial.number, images, score)
            if AUDITED_AT in trial.user_attrs:
                self.audit(trial.number, trial.user_attrs[AUDITED_AT])
            if trial.state.is_finished():
                self._ended.add(trial.number)

    def note(self, number: int, images: int, score: RungScore) -> None:
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
        standings = self.standings(images)
        own = standings.pop(number, None)
        if own is None:
            return True
        rule, factor = self._config.scheduler, self._config.reduction_factor
        if rule == "hyperband":
            bracket = self._bracket(number)
            if self._early.index(images) < bracket:
                return True
            standings = {n: s for n, s in standings.items() if self._bracket(n) == bracket}
        others = list(standings.values())
        return goes_on(rule, count_better(own, others), len(others), factor)

    def best_first(self, images: int) -> list[int]:
        """Return the numbers of the trials at a rung, best first."""
        standings = self.standings(images)
        keys = dict(zip(standings, sort_keys(list(standings.values())), strict=True))
        return sorted(standings, key=lambda number: (keys[number], number))

    def standings(self, images: int) -> dict[int, Standing]:
        """Return how trials stand at a rung, by number; audited ones up to where they stopped."""
        scores = self._rungs.get(images, {})
        return {
            number: Standing(score.values, self._violation(images, score))
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
