"""A landscape with known effects, as `make_landscapes.py` would fill its table."""

import itertools
import math
from typing import Any

import numpy as np

from benchmarks.landscapes import SEARCH_SPACES, SEEDS, Landscape, Trial, Values, sobol_points

OMEGAS = (0.0, 0.5, 1.0, 2.0)
RUNGS = {5_120: 250, 10_240: 250, 20_480: 500}
PREFIXES = (30, 60, 125, 250, 500)
LOG_SCORE = {5_120: 5.5, 10_240: 4.5, 20_480: 3.6}
BIAS = 1_000.0
"""Score at N less that at infinity: this over N, as FID's."""


def made_landscape(name: str = "tau.yaml") -> Landscape:
    """The space of the contrastive loss, or another one, on the digits recipe."""
    return Landscape(
        name="made",
        space=SEARCH_SPACES / name,
        objective="fid/all",
        rungs=RUNGS,
        omegas=OMEGAS,
        num_initial=16,
    )


def true_effect(values: Values) -> float:
    """A loss changes the score by its strength and form; nothing else does."""
    form = values.get("contrastive.form", "none")
    if form == "none":
        return 0.0
    rank = ("negative_l2", "hinge", "reciprocal", "exponential").index(form)
    strength = math.log10(values["contrastive.tau_0"] / 0.1) / 3
    return 0.3 * strength * (rank - 1)


def true_log_score(values: Values, images: int, omega: float) -> float:
    """The baseline is best at omega 1."""
    return LOG_SCORE[images] + 0.3 * (omega - 1) ** 2 + true_effect(values)


def made_lines(
    landscape: Landscape,
    num_points: int,
    *,
    own: float = 0.0,
    shared: float = 0.0,
    sampling: float = 0.0,
    all_seeds: bool = True,
) -> list[dict[str, Any]]:
    """Lines of baselines and points, with noise.

    Args:
        landscape: whose space is filled.
        num_points: beside the baseline.
        own: standard deviation of a training's own noise, of the log score at all outputs.
        shared: the same of what trainings share that have their draws and seed in common.
        sampling: that of a single sample.
        all_seeds: whether every point has every seed; else they take turns.
    """
    rng = np.random.default_rng(0)
    points = list(itertools.islice(sobol_points(landscape.search_space, 5), num_points))
    trials = [Trial({}, seed) for seed in SEEDS]
    for i, values in enumerate(points):
        seeds = SEEDS if all_seeds else SEEDS[i % 3 : i % 3 + 1]
        trials += [Trial(values, seed) for seed in seeds]
    draws: dict[tuple[str, int], float] = {}
    lines = []
    for trial in trials:
        key = str(landscape.paired_baseline(trial.values)), trial.seed
        if key not in draws:
            draws[key] = shared * rng.standard_normal()
        offset = draws[key] + own * rng.standard_normal()
        lines.append(_line(trial, offset, sampling, rng))
    return lines


def _line(
    trial: Trial, offset: float, sampling: float, rng: np.random.Generator
) -> dict[str, Any]:
    content: dict[str, Any] = {"values": trial.values, "seed": trial.seed, "rungs": []}
    before = 0
    for images, full in RUNGS.items():
        draws = []
        for omega in OMEGAS:
            mean = true_log_score(trial.values, images, omega) + offset
            path = sampling * rng.standard_normal(full // 5).cumsum() * math.sqrt(5)
            scores = {}
            for count in (prefix for prefix in PREFIXES if prefix <= full):
                score = math.exp(mean + path[count // 5 - 1] / count) + BIAS / count
                scores[str(count)] = [score, *(4 * [0.5])]
            passes = 1 if omega == 0 else 2
            draws.append(
                {
                    "omega": omega,
                    "sampling_s": 0.002 * passes * full,
                    "scoring_s": 0.05,
                    "scores": scores,
                }
            )
        rung = {"images": images, "training_s": 0.001 * (images - before), "draws": draws}
        content["rungs"].append(rung)
        before = images
    return content
