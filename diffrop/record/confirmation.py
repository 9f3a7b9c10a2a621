"""The stored confirmation of a study, confirm.json."""

import math
import statistics
from dataclasses import dataclass, field

from diffrop.record.codec import stored_as

CHANCE = 0.05
"""Probability that a training seed alone makes a difference beyond `SeedSpread.reach`."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was known of a difference with some of the seeds, with a repeated interval.

    All looks' intervals hold the expected difference at once, but with the confirmation's alpha.
    """

    num_seeds: int
    """Those at which the leader and the baseline were both scored."""
    mean: float
    low: float
    high: float
    level: float
    """The error that this interval may have by itself."""

    def __str__(self) -> str:
        """Return mean and interval."""
        places = 2 if self.high - self.low >= 0.1 else 4
        return f"{self.mean:+.{places}f} [{self.low:+.{places}f}, {self.high:+.{places}f}]"


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """A leader's score less the baseline's over fresh seeds; lower is better."""

    by_seed: tuple[float, ...] = field(default=(), metadata=stored_as("differences"))
    mean: float | None = None
    """None where fewer than two seeds are known, or not all leaders have had theirs."""
    low: float | None = None
    high: float | None = None
    looks: tuple[Look, ...] = ()
    """At a growing number of seeds, the last of which gave mean, low and high; earlier versions
    kept that one only, and not here."""


@dataclass(frozen=True, kw_only=True)
class SeedSpread:
    """How far a training seed moves a difference to the baseline that is 0 in the mean."""

    deviation: float
    """Standard deviation over seeds, in the units of the score, within each leader."""
    degrees: int
    """Of freedom behind it."""
    num_seeds: int
    """Of the leader that has most."""

    @property
    def reach(self) -> float:
        """What a single training's difference stays within with a probability of 95 %."""
        from scipy.special import stdtrit  # who only reads a record does without it

        return float(stdtrit(self.degrees, 1 - CHANCE / 2)) * self.deviation

    def __str__(self) -> str:
        """Return what it says of trials that were trained once."""
        return (
            f"Over {self.num_seeds} fresh seeds a difference to the baseline had a standard "
            f"deviation of {self.deviation:.2f}: that of one training says little within "
            f"+-{self.reach:.2f}."
        )


@dataclass(frozen=True, kw_only=True)
class ConstraintOutcome:
    """How a leader stands to one constraint."""

    text: str
    excess: float
    """Mean over seeds of the share of the bound by which it is exceeded."""
    kept: bool
    num_kept: int
    """Seeds at which it is kept."""


@dataclass(frozen=True, kw_only=True)
class ConfirmedLeader(PairedDifference):
    """What fresh seeds say of one leader; the difference is that of the first objective."""

    trial: int
    name: str
    values: tuple[float, ...] = ()
    """The first objective, by seed."""
    seed_indices: tuple[int, ...] = ()
    sample_intervals: tuple[tuple[float, float] | None, ...] = ()
    """Of each value over samples, within its seed."""
    objectives: dict[str, PairedDifference]
    """By objective; empty before it can be judged."""
    num_failed: int = 0
    constraints: tuple[ConstraintOutcome, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ConfirmedBaseline:
    """The baseline's retrainings."""

    trial: int = 0
    values: tuple[float, ...] = ()
    """The first objective, by seed."""


@dataclass(frozen=True, kw_only=True)
class ConfirmationRecord:
    """What confirm.json holds."""

    seeds: tuple[int, ...]
    """Training seeds that were used."""
    sample_seeds: tuple[int, ...]
    omega: dict[str, float]
    """By the trial's label, such as t003."""
    sampler: dict[str, str]
    alpha: float
    """The error that all intervals together may have."""
    num_seeds: int
    """Of every candidate."""
    max_seeds: int = field(metadata=stored_as("most_seeds"))
    """Of a leader that stays a near-tie."""
    spending: str = "geometric"
    """How alpha is spent over the looks at a near-tie; earlier versions knew this one only."""
    objective: str
    objectives: tuple[str, ...]
    num_samples: int | None
    leaders: tuple[ConfirmedLeader, ...]
    baseline: ConfirmedBaseline
    conditional_on_prefix: bool
    """Whether all trainings start from the same weights, which no seed changes."""
    num_trials: int
    """Trials of the search that had ended when the leaders were chosen."""
    num_left: int
    """Trainings that come next; 0 once all is decided."""
    finding: str
    """What the differences say, in plain words."""
    conclusion: str = field(metadata=stored_as("verdict"))
    """The finding, with what a reader must know at a launch's end."""
    current: bool = True
    """False once the study has other leaders than those that were confirmed."""
    best: int | None = None
    """The confirmed best trial; None if none is named."""

    @property
    def repeated(self) -> bool:
        """Whether near-ties are looked at more than once, each time with a repeated interval."""
        return self.max_seeds > self.num_seeds

    @property
    def seed_spread(self) -> SeedSpread | None:
        """How far a training seed moves a difference; None with fewer than three at a leader.

        The leaders share the baseline's trainings, so that their deviations are a little alike,
        and the degrees of freedom a little too many.
        """
        found = [leader.by_seed for leader in self.leaders if len(leader.by_seed) > 2]
        if not found:
            return None
        degrees = sum(len(values) - 1 for values in found)
        squares = sum((len(values) - 1) * statistics.variance(values) for values in found)
        deviation = math.sqrt(squares / degrees)
        return SeedSpread(deviation=deviation, degrees=degrees, num_seeds=max(map(len, found)))

    @property
    def judged(self) -> bool:
        """Whether a leader's difference is known."""
        return any(leader.mean is not None for leader in self.leaders)
