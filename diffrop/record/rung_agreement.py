"""The stored agreement of rungs with the end, fidelity.json."""

from dataclasses import dataclass, field

from diffrop.record.codec import stored_as


@dataclass(frozen=True, kw_only=True)
class RungAgreement:
    """How far a rung orders trials as the full score does."""

    images: int
    num_samples: int
    num_steps: int | None
    num_trials: int
    """Those with both scores."""
    num_audited: int
    tau: float | None
    """Kendall's tau-b; None under two distinct scores."""
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class AgreementRecord:
    """What fidelity.json holds."""

    metric: str = "kendall_tau"
    rungs: tuple[RungAgreement, ...] = ()
    conclusion: str = field(default="", metadata=stored_as("verdict"))
    """Whether stopping was right, in plain words."""
