"""Confirmations of a small study, planned and stored, and scores of its retrainings."""

from typing import Any

from diffrop.confirmation.plan import Candidate, Confirmation, plan_confirmation
from diffrop.record.confirmation import ConfirmationRecord, ConfirmedBaseline
from diffrop.record.score_card import ScoreCard
from diffrop.study.config import LaunchConfig, StudyConfig
from tests.made.scores import score_card
from tests.made.small import small_study

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


def candidate(number: int, **changes: object) -> Candidate:
    """The baseline, or a leader with the hinge form."""
    form = "hinge" if number else "none"
    settings = {"omega": 0.5, "sampler": "ddim-2", "values": {"contrastive.form": form}}
    name = f"t{number:03d} {form}"
    return Candidate(number=number, name=name, **(settings | changes))  # type: ignore[arg-type]


def confirmation(
    *leaders: int, study: StudyConfig | None = None, launch: LaunchConfig | None = None
) -> Confirmation:
    """The confirmation of some leaders, by themselves trials 3 and 5."""
    return plan_confirmation(
        study or small_study(),
        launch or LaunchConfig(),
        candidate(0),
        [candidate(number) for number in leaders or (3, 5)],
    )


def retraining_card(value: float, many: float = 10.0, **changes: object) -> ScoreCard:
    """The final score of a retraining."""
    return score_card(
        value,
        scores={"fid/all": value, "fid/many": many},
        half_width=1,
        num_samples={"all": 40, "many": 12},
        seconds={"sampling": 1.0, "features": 0.5, "metrics": 0.5},
        **({"omega": 0.5} | changes),
    )


def retraining_cards(**values: list[float | None]) -> dict[tuple[int, int], ScoreCard | None]:
    """Scores by candidate, as in t3=[41.0, 42.0]; None failed."""
    return {
        (int(name[1:]), seed): None if value is None else retraining_card(value)
        for name, found in values.items()
        for seed, value in enumerate(found)
    }


def confirmation_record(**changes: Any) -> ConfirmationRecord:
    """Return a confirmation without leaders, but for some fields."""
    return ConfirmationRecord(**FIELDS | changes)
