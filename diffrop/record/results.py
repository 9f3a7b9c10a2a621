"""The results of a study: one row a trial, ranked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffrop.metrics.interval import Interval
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.names import trial_label
from diffrop.record.score_card import ScoreCard
from diffrop.shot_groups import SHOT_GROUPS
from diffrop.study.config import StudyConfig
from diffrop.study.learned import nothing_learned, within_warmup
from diffrop.study.objectives import FrontPoint, pareto_front
from diffrop.study.ranking import choose_leaders

if TYPE_CHECKING:
    import pandas as pd

CONTRASTIVE_COLUMNS = {
    "contrastive.tau_0": "tau_0",
    "contrastive.decay_temperature": "decay_temperature",
    "contrastive.margin": "margin",
}


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What is known of one trial."""

    number: int
    state: str
    """RUNNING, COMPLETE, PRUNED or FAIL."""
    values: dict[str, Any]
    """Searched keys with their values; the baseline has {"contrastive.form": "none"}."""
    directory: Path
    card: ScoreCard | None
    """The newest score that was reported."""
    duration_s: float
    message: str
    rank: int | None = None
    """Among COMPLETE trials: those that keep the constraints first, then by the objectives."""
    feasible: bool | None = None
    """Whether it keeps the constraints; None where that is unknown, or there are none."""
    front: bool = False
    """Whether a point of it is on the Pareto front."""
    audited_at: int | None = None
    """Images at which it would have been stopped, had it not been drawn for the audit."""
    from_prior: bool = False
    """Whether it took the values near the space's priors."""
    parent: str = ""
    """Trial and images that it went on from, such as t003@10240 (PBT)."""
    training_key: str = ""
    driver: str = ""
    training_s: float = 0.0
    """Of its training, up to where it came; 0 where an earlier trial trained the same."""
    scoring_s: float = 0.0
    samples_drawn: int = 0
    gpus: float = 0.0
    seed: int | None = None
    """Which of the fresh seeds, if it is a retraining that confirms the trial."""

    @property
    def label(self) -> str:
        """Its short name: t007, or t007-s1 for the retraining with seed 1."""
        return trial_label(self.number, self.seed)

    @property
    def form(self) -> str:
        """The form of the loss."""
        return str(self.values.get("contrastive.form", "-"))

    @property
    def name(self) -> str:
        """The trial in words, such as "t007 reciprocal tau_0=3.2"."""
        tau_0 = self.values.get("contrastive.tau_0")
        strength = "" if tau_0 is None else f" tau_0={tau_0:.3g}"
        return f"{self.label} {self.form}{strength}"

    def row(self, config: StudyConfig) -> dict[str, Any]:
        """Return the trial as a row of trials.csv."""
        row: dict[str, Any] = {
            "number": self.number,
            "name": self.name,
            "state": self.state,
            "rank": self.rank,
            "baseline": self.number == 0,
            "form": self.form,
        }
        for key, column in CONTRASTIVE_COLUMNS.items():
            row[column] = self.values.get(key)
        searched = (parameter.name for parameter in config.space.parameters)
        known = {"contrastive.form", *CONTRASTIVE_COLUMNS}
        row |= {key: self.values.get(key) for key in searched if key not in known}
        row |= {"value": None, "omega": None}
        if self.card is not None:
            card = self.card
            row |= {"value": card.value, "omega": card.omega, **card.scores}
            row |= {f"num_samples/{group}": n for group, n in card.num_samples.items()}
            row |= {"images_seen": card.images_seen, "rung": card.images_seen}
            interval = card.intervals.get(card.objective)
            row |= {"value_low": interval.low if interval else None}
            row |= {"value_high": interval.high if interval else None}
            row |= {"sampler": card.sampler, "evaluations": card.evaluations}
            row |= {"extractor": card.extractor}
            row |= {"reference": card.reference}
        return row | {
            "feasible": self.feasible,
            "front": self.front,
            "audited_at": self.audited_at,
            "from_prior": self.from_prior,
            "parent": self.parent,
            "training_key": self.training_key,
            "training_s": round(self.training_s, 3),
            "scoring_s": round(self.scoring_s, 3),
            "samples_drawn": self.samples_drawn,
            "gpus": self.gpus,
            "duration_s": round(self.duration_s, 1),
            "message": self.message,
        }


@dataclass(frozen=True)
class StudyResult:
    """All trials of a study, in order of number."""

    config: StudyConfig
    trials: list[TrialResult] = field(default_factory=list)
    differences: Mapping[int, Mapping[str, Interval]] = field(default_factory=dict)
    """By number and score, each ranked trial's less the baseline's; see `with_differences`."""
    confirmation: ConfirmationRecord | None = None
    reference_scores: Mapping[str, Any] = field(default_factory=dict)
    """Of pure noise and of real images, as far as they are known."""

    @property
    def nothing_learned(self) -> list[str]:
        """Why no trial can be called the best, in sentences; see `diffrop.study.learned`."""
        evaluation, training = self.config.experiment.evaluation, self.config.experiment.training
        cards = {trial.number: trial.card for trial in self.ranked if trial.card is not None}
        return nothing_learned(
            within_warmup(training.num_images, training.warmup_images),
            [card.values for card in cards.values()],
            cards[0].scores if 0 in cards else {},
            self.reference_scores.get("noise", {}).get("scores", {}),
            evaluation.objective,
        )

    @property
    def ranked(self) -> list[TrialResult]:
        """COMPLETE trials, best first."""
        complete = [trial for trial in self.trials if trial.rank is not None]
        return sorted(complete, key=lambda trial: trial.rank or 0)

    def leaders(self, count: int) -> list[int]:
        """Return the numbers of the trials to confirm, the baseline not among them.

        See `choose_leaders`.
        """
        ranked = [trial for trial in self.ranked if trial.number > 0]
        values = {trial.number: trial.card.values for trial in ranked if trial.card is not None}
        feasible = [trial.number for trial in ranked if trial.feasible is not False]
        return choose_leaders(values, count, feasible)

    @property
    def best(self) -> TrialResult | None:
        """What is exported: the confirmed best, or the leader of the search.

        Where a confirmation named no best, or nothing was learned, it is the baseline, the simpler
        of equals. A confirmation that is not of the present leaders decides nothing.
        """
        if self.nothing_learned:
            return next((trial for trial in self.ranked if trial.number == 0), None)
        confirmed = self.confirmation
        if confirmed is None or not confirmed.judged or not confirmed.current:
            return self.ranked[0] if self.ranked else None
        number = confirmed.best or 0
        return next(trial for trial in self.trials if trial.number == number)

    @property
    def frame(self) -> "pd.DataFrame":
        """One row a trial; see `TrialResult.row`."""
        import pandas as pd

        return pd.DataFrame([trial.row(self.config) | self._ends(trial) for trial in self.trials])

    def difference(self, trial: TrialResult) -> Interval | None:
        """Return a trial's objective less the baseline's, None where it is not known."""
        found = self.differences.get(trial.number, {})
        return found.get(self.config.experiment.evaluation.objective)

    def _ends(self, trial: TrialResult) -> dict[str, float | None]:
        """Return the differences to the baseline with their intervals, as columns."""
        groups = self.differences.get(trial.number, {})
        known = {"": self.difference(trial)}
        known |= {f"/fid/{group}": groups.get(f"fid/{group}") for group in SHOT_GROUPS}
        return {
            f"difference_{name}{of}": None if ends is None else getattr(ends, name)
            for of, ends in known.items()
            for name in ("value", "low", "high")
        }


def front_points(
    trials: Sequence[TrialResult], config: StudyConfig, base: Mapping[str, float] | None
) -> list[FrontPoint]:
    """Return the scored points of complete trials, with the front marked; see `pareto_front`."""
    evaluation = config.experiment.evaluation
    points = [
        FrontPoint(
            trial.number,
            point.omega,
            point.sampler,
            point.scores,
            num_samples=point.num_samples,
            extractor=trial.card.extractor,
            reference=trial.card.reference,
            images_seen=trial.card.images_seen,
        )
        for trial in trials
        if trial.card is not None
        for point in trial.card.points
    ]
    return pareto_front(points, evaluation.objectives, evaluation.parsed_constraints, base)
