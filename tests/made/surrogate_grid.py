"""A grid of trials with known effects, as `make_surrogate_grid.py` would write it."""

import itertools
import math

import numpy as np
import pandas as pd

OMEGAS = (0.0, 0.5, 1.0, 2.0)
RUNGS = {5_120: 250, 10_240: 250, 20_480: 500}
PREFIXES = (30, 60, 125, 250, 500, 1_000)
BIAS = {30: 20.0, 60: 8.0, 125: 4.0, 250: 2.0, 500: 1.0, 1_000: 0.0}
LOG_FID = {5_120: 5.5, 10_240: 4.5, 20_480: 3.6}
STRENGTHS = ((1.0, 0.6), (10.0, 0.1), (10.0, 0.6), (100.0, 0.25))
FORMS = ("negative_l2", "hinge", "reciprocal", "exponential")


def true_log_fid(form: str, tau_0: float, decay: float, images: int, omega: float) -> float:
    """The baseline is best at omega 1; a loss ruins it by its strength, each form by its own."""
    strength = tau_0 * decay * (1 - math.exp(-1 / decay)) if tau_0 else 0.0
    effect = 0.02 * (1 + FORMS.index(form)) * strength if form != "none" else 0.0
    return LOG_FID[images] + 0.5 * (omega - 1) ** 2 + effect


def made_grid(noise: float, seeds: tuple[int, ...] = (0, 1, 2)) -> pd.DataFrame:
    """Rows of baseline and four points a form, with forks of one; noise is of single samples."""
    rng = np.random.default_rng(0)
    points = [("none", 0.0, 0.0, 0.0, 0)]
    for form in FORMS:
        points += [(form, *values, 1.0 if form == "hinge" else 0.0, 0) for values in STRENGTHS]
        points.append((form, *STRENGTHS[-1], 1.0 if form == "hinge" else 0.0, 10_240))
    rows = []
    for (point, seed), images in itertools.product(itertools.product(points, seeds), RUNGS):
        form, tau_0, decay, margin, start = point
        if images <= start:
            continue
        full = 1_000 if (seed, images) == (0, 20_480) else RUNGS[images]
        whole = true_log_fid(form, tau_0, decay, images, 1.0)
        share = 0.5 if start else 1.0
        for omega in OMEGAS:
            log = LOG_FID[images] + 0.5 * (omega - 1) ** 2 + share * (whole - LOG_FID[images])
            path = noise * rng.standard_normal(full // 10).cumsum() * math.sqrt(10)
            for count in (n for n in PREFIXES if n <= full):
                row = {
                    "form": form,
                    "tau_0": tau_0,
                    "decay_temperature": decay,
                    "margin": margin,
                    "start_images": start,
                    "seed": seed,
                    "images": images,
                    "omega": omega,
                    "num_samples": count,
                    "fid/all": math.exp(log + path[count // 10 - 1] / count) + BIAS[count],
                    "training_s": 0.001 * (10_240 if images == 20_480 else 5_120),
                }
                if count == full:
                    passes = 1 if omega == 0 else 2
                    row |= {"sampling_s": 0.002 * passes * full, "scoring_s": 0.05}
                rows.append(row)
    return pd.DataFrame(rows)
