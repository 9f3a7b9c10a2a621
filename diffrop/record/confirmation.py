"""The stored confirmation of a study, confirm.json."""

from dataclasses import dataclass, field

from diffrop.record.codec import stored_as


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
    def judged(self) -> bool:
        """Whether a leader's difference is known."""
        return any(leader.mean is not None for leader in self.leaders)
