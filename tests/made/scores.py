"""Score cards without any scoring."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffrop.metrics.interval import LEVEL, Interval
from diffrop.record import score_card as stored
from diffrop.record.score_card import CostPreference, CurvePoint, ScoreCard
from diffrop.record.trial_folder import TrialFolder


def interval(value: float, half_width: float, num_samples: int = 40) -> Interval:
    """An interval that lies so far to both sides of a value."""
    return Interval(
        value=value,
        low=value - half_width,
        high=value + half_width,
        standard_error=half_width / 2,
        level=LEVEL,
        num_samples=num_samples,
    )


def score_card(
    value: float,
    images: int = 128,
    *,
    scores: Mapping[str, float] | None = None,
    half_width: float | None = None,
    **changes: Any,
) -> ScoreCard:
    """A score of a single sampling choice on 40 samples, ranked by fid/all.

    Args:
        value: fid/all.
        images: seen by the checkpoint.
        scores: all of them; by themselves those of the shot groups many and few lie 1 and 2 above.
        half_width: of the interval of the value; None leaves it out.
        changes: other fields; without a `curve` it is the choice on the full N.
    """
    groups = ("all", "many", "few")
    found = dict(scores or {f"fid/{group}": value + i for i, group in enumerate(groups)})
    fields: dict[str, Any] = {
        "images_seen": images,
        "time": 0.0,
        "objectives": ["fid/all"],
        "values": [value],
        "omega": 1.0,
        "sampler": "ddim-2",
        "extractor": "pixels",
        "reference": "full training set",
        "num_samples": {"all": 40, "many": 12, "few": 12},
        "num_reference": {"all": 70},
        "final": True,
        "intervals": {} if half_width is None else {"fid/all": interval(value, half_width)},
        "class_scores": {},
        "samples_drawn": 40,
        "seconds": {},
    }
    fields |= changes
    whole = CurvePoint(
        omega=fields["omega"],
        sampler=fields["sampler"],
        num_samples=fields["num_samples"]["all"],
        scores=found,
    )
    return ScoreCard(**({"curve": [whole]} | fields))


def cost_preference(reason: str) -> CostPreference:
    """What a score says where the cheapest choice was asked for that is almost as good."""
    return CostPreference(
        margin=0.02, omega=1.0, sampler="ddim-16", evaluations=32, differences={}, reason=reason
    )


def write_score(trial: Path, value: float, images: int) -> None:
    """Write a score that was made just now into a trial's folder.

    Args:
        trial: the folder.
        value: its fid/all, the only score.
        images: seen; 128 are the end of the training.
    """
    card = score_card(
        value,
        images,
        scores={"fid/all": value},
        time=time.time(),
        num_samples={"all": 40},
        final=images == 128,
        seconds={"sampling": 1.8, "features": 0.9, "metrics": 0.9},
    )
    stored.write_score(TrialFolder(trial).score_path(images), card)
