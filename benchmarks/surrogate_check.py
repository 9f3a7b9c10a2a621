"""What a landscape is fit for: how well its surrogate knows it, and where no claim may be made."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from rich.table import Table

from benchmarks.landscapes import Values, sobol_points
from benchmarks.surrogate import (
    RUINED,
    Quality,
    Surrogate,
    compressed,
    left_out,
    quality,
    share_of,
)

MOST = 1 / 3
"""An error, or uncertainty, that is a larger share of the effects allows no claim."""
NUM_POINTS = 1_024
MOST_UNCERTAIN = 0.5
"""Share of a region that may be uncertain."""
MIN_FREEDOM = 8
"""Degrees of freedom of replicates under which the noise of a training is not known."""


def check_table(surrogate: Surrogate) -> Table:
    """Return what is known of a landscape, and what is not."""
    fitted = left_out(surrogate)
    everything = quality(surrogate, fitted)
    hopeful = quality(surrogate, fitted[fitted["measured"] < RUINED])
    shown = Table(f"{surrogate.landscape.name}, {surrogate.landscape.objective}", "", box=None)
    for name, text in (*_known(surrogate, everything, hopeful), *no_claims(surrogate, fitted)):
        shown.add_row(name, text)
    return shown


def _known(
    surrogate: Surrogate, everything: Quality, hopeful: Quality
) -> Iterator[tuple[str, str]]:
    trained = len(surrogate.effects)
    yield "points, trainings", f"{everything.num_points}, {trained} with the baselines"
    if surrogate.num_failed:
        yield "failed trainings, in no effect", f"{surrogate.num_failed}"
    for name, found in (("all points", everything), ("not ruined", hopeful)):
        yield (
            f"{name}: a point left out, error / effects' deviation",
            f"{found.error:.3f} / {found.effects:.3f} = {found.ratio:.2f} "
            f"({found.num_points} points)",
        )
    own, shared = everything.freedom
    yield "one training, draws not shared", f"{everything.training:.3f} ({shared} degrees)"
    yield "difference of two, draws shared", f"{everything.difference:.3f} ({own} degrees)"
    sampling = np.diag(surrogate.noise.sampling[-1]).mean() / 1_000
    yield "samples, N = 1,000, own part", f"{math.sqrt(sampling):.3f}"
    if math.isfinite(surrogate.fork_share):
        yield "forks, share of the whole effect", f"{surrogate.fork_share:.2f}"
    times = surrogate.seconds({})
    yield "training, an image", f"{1e3 * times.training_per_image:.2f} ms"
    yield "sampling, an image, guided", f"{2e3 * times.sampling_per_image:.2f} ms"


def no_claims(surrogate: Surrogate, fitted: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield where no claim may be made, and why: none at all if the landscape is known."""
    hopeful = quality(surrogate, fitted[fitted["measured"] < RUINED])
    for name, found in (("all points", quality(surrogate, fitted)), ("not ruined", hopeful)):
        if not found.ratio <= MOST:
            yield f"NO CLAIM on {name}", f"error over {MOST:.2f} of the effects: more points"
    for name, degrees in zip(("differences of", "single"), surrogate.noise.freedom, strict=True):
        if degrees < MIN_FREEDOM:
            yield f"NO CLAIM on the noise of {name} trainings", f"{degrees} degrees of freedom"
    regions = uncertain_regions(surrogate, quality(surrogate, fitted).effects)
    unknown = {name: share for name, share in regions.items() if share > MOST_UNCERTAIN}
    if len(unknown) == len(regions):
        unknown = {"any region": min(unknown.values())}
    for region, share in unknown.items():
        yield f"NO CLAIM at {region}", f"{share:.0%} of it is uncertain: more points there"


def uncertain_regions(surrogate: Surrogate, effects: float) -> dict[str, float]:
    """Return the share of each region that is uncertain.

    A region is a choice, or a third of a range, on its own scale. A point is uncertain if the
    standard deviation of its prediction is over a third of the effects', and it may be no ruin.
    """
    space = surrogate.landscape.search_space
    points = list(itertools.islice(sobol_points(space, seed=0), NUM_POINTS))
    uncertain = surrogate.uncertainty(points)
    final = surrogate.log_scores(points)[:, -1] - surrogate.baseline[-1]
    hopeful = compressed(final).min(axis=1) - uncertain < RUINED
    found = {}
    for region, inside in _regions(surrogate, points):
        inside &= hopeful
        share = float((uncertain[inside] > MOST * effects).mean()) if inside.any() else 0.0
        found[region] = share
    return found


def _regions(surrogate: Surrogate, points: Sequence[Values]) -> Iterator[tuple[str, np.ndarray]]:
    for parameter in surrogate.landscape.search_space.parameters:
        name = parameter.name
        asked = np.array([name in values for values in points])
        if parameter.choices is not None:
            for choice in parameter.choices:
                yield (
                    f"{name} {choice}",
                    np.array([values.get(name) == choice for values in points]),
                )
            continue
        shares = np.array(
            [share_of(parameter, values[name]) if name in values else -1.0 for values in points]
        )
        for third, word in enumerate(("low", "middle", "high")):
            yield f"{name} {word}", asked & (np.minimum(2, np.floor(3 * shares)) == third)
