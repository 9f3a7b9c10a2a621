"""Stored confirmations, as small as a test needs them."""

from typing import Any

from diffrop.record.confirmation import ConfirmationRecord, ConfirmedBaseline

FIELDS: dict[str, Any] = {
    "seeds": (),
    "sample_seeds": (),
    "omega": {},
    "sampler": {},
    "alpha": 0.05,
    "num_seeds": 3,
    "max_seeds": 3,
    "objective": "fid/all",
    "objectives": ("fid/all",),
    "num_samples": None,
    "leaders": (),
    "baseline": ConfirmedBaseline(),
    "conditional_on_prefix": False,
    "num_trials": 3,
    "num_left": 0,
    "finding": "",
    "conclusion": "",
}


def confirmation_record(**changes: Any) -> ConfirmationRecord:
    """Return a confirmation without leaders, but for some fields."""
    return ConfirmationRecord(**FIELDS | changes)
