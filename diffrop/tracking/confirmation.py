"""A trial's retrainings with fresh seeds as one row of MLflow's table: means and intervals."""

from dataclasses import dataclass

import numpy as np
from mlflow.entities import Metric

from diffrop.confirmation.assessment import t_interval
from diffrop.metrics.interval import LEVEL
from diffrop.record.confirmation import ConfirmationRecord, ConfirmedLeader, Look, PairedDifference
from diffrop.record.json_files import read_record
from diffrop.record.score_card import ScoreCard
from diffrop.record.study_folder import StudyFolder
from diffrop.tracking.metrics import FINAL_STEP, beside, final_scores, numbers
from diffrop.tracking.notes import markdown_text, table

DIFFERENCE = "difference"
"""In the keys of what a leader's scores are less the baseline's: fid_difference/all."""


@dataclass(frozen=True)
class ConfirmedTrial:
    """What a study's folder says of a trial's retrainings."""

    number: int
    cards: dict[int, ScoreCard]
    """The final scores, by seed."""
    record: ConfirmationRecord | None
    written_s: float
    """When the record was written, in seconds since 1970."""

    @classmethod
    def read(cls, folder: StudyFolder, number: int) -> "ConfirmedTrial":
        """Read it; ValueError if the record is damaged."""
        cards: dict[int, ScoreCard] = {}
        for retraining in folder.retrainings():
            if retraining.number == number and retraining.seed is not None:
                final = [card for card in retraining.scores() if card.final]
                cards |= {retraining.seed: final[-1]} if final else {}
        record = read_record(folder.confirmation, ConfirmationRecord)
        written_s = folder.confirmation.stat().st_mtime if record else 0.0
        return cls(number, dict(sorted(cards.items())), record, written_s)

    @property
    def leader(self) -> ConfirmedLeader | None:
        """What the record says of the trial; None of the baseline, and before it is judged."""
        leaders = self.record.leaders if self.record else ()
        return next((leader for leader in leaders if leader.trial == self.number), None)

    def values(self) -> dict[str, list[float]]:
        """Return the scores that are logged, by name, each of every seed that has been scored."""
        by_seed = [final_scores(card) for card in self.cards.values()]
        names = dict.fromkeys(name for scores in by_seed for name in scores)
        return {name: [s[name] for s in by_seed if name in s] for name in names}

    def metrics(self) -> list[Metric]:
        """Return the mean of each score over seeds, and the differences to the baseline.

        The means have the keys of a trial's scores, so that they stand in the same columns. A
        near-tie is looked at with more and more seeds: its difference is a line over their number.
        """
        if not self.cards:
            return []
        # Of means at one step the latest counts; a seed may be known of late, from another driver.
        newest_s = max(card.time for card in self.cards.values()) + len(self.cards) / 1000
        means = {name: float(np.mean(values)) for name, values in self.values().items()}
        metrics = numbers(means, newest_s, FINAL_STEP)
        if self.record is None or self.leader is None:
            return metrics
        known = {self.record.objective: self.leader} | dict(self.leader.objectives)
        for score, difference in known.items():
            key = beside(score, DIFFERENCE)
            found = {FINAL_STEP: _told(key, difference)}
            if self.record.repeated and difference.looks:
                found = {look.num_seeds: _told(key, look) for look in difference.looks}
            for step, values in found.items():
                metrics += numbers(values, self.written_s, step)
        return metrics

    def note(self) -> str:
        """Return the means with their intervals, and each seed's scores, as Markdown."""
        values = {name: found for name, found in self.values().items() if found}
        if not values:
            return "No fresh seed has been scored yet."
        first, found = next(iter(values.items()))
        parts = [f"**{first} {_mean(found)}** over {len(found)} fresh seeds"]
        leader, record = self.leader, self.record
        if leader is not None and record is not None and leader.mean is not None:
            known = leader.low is not None and leader.high is not None
            ends = f" [{leader.low:+.4g}, {leader.high:+.4g}]" if known else ""
            parts[0] += f"; less the baseline's: {record.objective} {leader.mean:+.4g}{ends}"
        if record is not None:
            parts.append(markdown_text(record.conclusion))
        rows = [[f"seed {seed}", *_row(card, values)] for seed, card in self.cards.items()]
        rows.append([f"mean [{100 * LEVEL:.0f} % over seeds]", *map(_mean, values.values())])
        return "\n\n".join([*parts, table(["", *values], rows)])


def _told(key: str, difference: Look | PairedDifference) -> dict[str, float | None]:
    ends = {f"{key}_low": difference.low, f"{key}_high": difference.high}
    return {key: difference.mean} | ends


def _row(card: ScoreCard, names: dict[str, list[float]]) -> list[str]:
    scores = final_scores(card)
    return [f"{scores[name]:.4g}" if name in scores else "-" for name in names]


def _mean(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.4g}"
    mean, low, high = (float(x) for x in t_interval(np.array(values), 1 - LEVEL))
    return f"{mean:.4g} [{low:.4g}, {high:.4g}]"
