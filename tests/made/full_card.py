"""The scores of a study's checkpoints, as a search for omega by halving leaves them."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from diffrop.record.score_card import CurvePoint, ScoreCard
from tests.made.scores import interval, score_card

OMEGAS = (0.0, 0.5, 1.0, 1.5, 2.0)
RUNGS = {6_016: (250, 4), 12_032: (500, 8), 24_000: (1_000, 16)}
"""Samples and steps at each rung."""
FINAL = 24_000
FULL = 1_000
SHOT_OFFSETS = {"all": 0.0, "many": 6.0, "medium": 11.0, "few": 19.0}
BEST_FID = {
    "none": 44.0,
    "negative_l2": 47.5,
    "hinge": 43.1,
    "reciprocal": 41.2,
    "exponential": 42.3,
}
SCHEDULE_LOSS = {"exponential": 0.0, "constant": 1.6, "linear": 0.7, "cosine": 0.9}
SECONDS = {"sampling": 9.0, "features": 2.0, "metrics": 1.0}


def true_fid(form: str, tau_0: float | None, schedule: str | None) -> float:
    """What a trial converges to at its best omega and infinite N."""
    base = BEST_FID.get(form, 42.7) + SCHEDULE_LOSS.get(str(schedule), 0.0)
    return base if tau_0 is None else base + 2.5 * abs(math.log10(tau_0 / 3))


def full_card(
    number: int,
    form: str,
    tau_0: float | None,
    schedule: str | None,
    images: int,
    added: Mapping[str, float] = MappingProxyType({}),
) -> ScoreCard:
    """The scores of a checkpoint, as a search for omega by halving leaves them."""
    num_samples, steps = RUNGS[images]
    rng = np.random.default_rng([number, images])
    level = true_fid(form, tau_0, schedule) + 40 * (1 - images / FINAL)
    level += float(rng.normal(0, 3 if images < FINAL else 0.1))
    best_omega = OMEGAS[1 + number % 3]
    curve, left = [], sorted(OMEGAS, key=lambda omega: abs(omega - best_omega))
    for drawn, kept in ((num_samples // 4, 5), (num_samples // 2, 3), (num_samples, 1)):
        for omega in left[:kept]:
            fid = level + 9 * (omega - best_omega) ** 2 + 2_000 / drawn
            scores = {f"fid/{group}": fid + more for group, more in SHOT_OFFSETS.items()}
            scores["fid/few"] += 2 * math.cos(number)
            scores = {score: fid + added.get(score, 0.0) for score, fid in scores.items()}
            point = CurvePoint(
                omega=omega, sampler=f"ddim-{steps}", num_samples=drawn, scores=scores
            )
            curve.append(point)
    values = [curve[-1].scores[name] for name in ("fid/all", "fid/few")]
    classes = {f"fid/class_{label}": values[0] + 8.0 * label for label in range(10)}
    intervals = {"fid/all": interval(values[0], 1.5)}
    intervals |= {name: interval(value, 6, FULL // 10) for name, value in classes.items()}
    counts = {"all": num_samples} | dict.fromkeys(("many", "medium", "few"), num_samples * 3 // 10)
    return score_card(
        values[0],
        images,
        intervals=intervals if images == FINAL else {},
        class_scores=classes if images == FINAL else {},
        time=1.7e9 + images,
        objectives=["fid/all", "fid/few"],
        values=values,
        omega=best_omega,
        sampler=f"ddim-{steps}",
        extractor="classifier-digits",
        reference="full training set, class-weighted",
        num_samples=counts,
        num_reference=counts,
        final=images == FINAL,
        curve=curve,
        samples_drawn=sum(point.num_samples for point in curve),
        seconds=SECONDS,
    )
