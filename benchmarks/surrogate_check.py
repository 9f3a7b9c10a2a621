"""What a landscape is fit for: how well its surrogate knows it, and where no claim may be made."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich.table import Table
from scipy.linalg import cho_solve

from benchmarks.gaussian_process import GaussianProcess
from benchmarks.landscapes import Values, sobol_points
from benchmarks.surrogate import Surrogate
from benchmarks.surrogate_inputs import LOG_RUINED

MOST = 1 / 3
"""An error, or uncertainty, that is a larger share of the effects allows no claim."""
NUM_POINTS = 1_024
MOST_UNCERTAIN = 0.5
"""Share of a region that may be uncertain."""
MIN_FREEDOM = 8
"""Degrees of freedom of replicates under which the noise of a training is not known."""


def left_out(surrogate: Surrogate) -> pd.DataFrame:
    """Predict each point's final effect from all points, and from the others alone.

    Returns:
        A row a point of the space (the baselines are none): its mean effect over trainings and
        omegas as `measured`, less what its draws do by the other trainings; `predicted` from all;
        `from_others`; the variance of `measured` that is noise of training and samples
        (`noise`); and the standard deviation that the process gives its prediction from the
        others (`expected`).
    """
    effects, process = surrogate.effects, surrogate.processes[-1]
    x, noise, y = process.x, process.noise, effects.to_numpy()[:, -len(surrogate.omegas) :]
    points = effects.index.get_level_values("point")
    baselines = set(effects.index.get_level_values("draws"))
    rows = []
    for point in points.unique():
        if point in baselines:
            continue
        own = np.asarray(points == point)
        others = GaussianProcess.fit(
            x[~own], y[~own], noise[np.ix_(~own, ~own)], process.parameter_of, process
        )
        # What the draws do is known from the trainings that share them.
        common = noise[np.ix_(own, ~own)]
        of_draws = common @ others.weights
        left = noise[np.ix_(own, own)] - common @ cho_solve(others.factor, common.T)
        at = x[own][:1]
        rows.append(
            {
                "point": point,
                "trainings": int(own.sum()),
                "measured": float((y[own] - of_draws).mean()),
                "predicted": float(process.predict(at).mean()),
                "from_others": float(others.predict(at).mean()),
                "noise": float(left.mean()),
                "expected": float(np.sqrt(others.variance(at)[0])),
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Quality:
    """How well a landscape is known, by the effects on its final log score, compressed."""

    num_points: int
    effects: float
    """Standard deviation of the points' effects, without noise."""
    error: float
    """Root mean square error of a point predicted from the others, without its own noise."""
    training: float
    """Standard deviation of one training, its draws not shared: noise alone."""
    difference: float
    """That of the difference of two trainings that share their draws."""
    freedom: tuple[int, int]

    @property
    def ratio(self) -> float:
        """The error as a share of the effects."""
        return self.error / self.effects if self.effects else math.inf


def quality(surrogate: Surrogate, fitted: pd.DataFrame) -> Quality:
    """Say how well points were predicted that were left out: `fitted` is of `left_out`."""
    noise = surrogate.noise
    last = slice(-len(surrogate.omegas), None)
    own = float(np.diag(noise.training)[last].mean())
    together = float(np.diag(noise.training_shared)[last].mean())
    spread = float(fitted["measured"].var()) - float(fitted["noise"].mean())
    errors = (fitted["from_others"] - fitted["measured"]) ** 2 - fitted["noise"]
    return Quality(
        len(fitted),
        math.sqrt(max(0.0, spread)),
        math.sqrt(max(0.0, float(errors.mean()))),
        math.sqrt(own + together),
        math.sqrt(2 * own),
        noise.freedom,
    )


def check_table(surrogate: Surrogate) -> Table:
    """Return what is known of a landscape, and what is not."""
    fitted = left_out(surrogate)
    everything = quality(surrogate, fitted)
    hopeful = quality(surrogate, fitted[fitted["measured"] < LOG_RUINED])
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
    hopeful = quality(surrogate, fitted[fitted["measured"] < LOG_RUINED])
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
    hopeful = surrogate.may_be_sound(points)
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
            [parameter.share_of(values[name]) if name in values else -1.0 for values in points]
        )
        for third, word in enumerate(("low", "middle", "high")):
            yield f"{name} {word}", asked & (np.minimum(2, np.floor(3 * shares)) == third)
