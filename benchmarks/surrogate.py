"""A model of the digits grid: what a trial would score, and what it would cost.

It is fitted to the table of `make_surrogate_grid.py`, on the logarithm of fid/all at N = 1,000;
every rung and omega of the grid is an output of its own:

    log FID = baseline + effect of the point + training noise + sampling noise

The effect is a Gaussian process for each form, over the logarithms of the loss's mean strength
and of its decay, and over the hinge's margin. It is 0 where the strength vanishes, because there
every form is the baseline. Between the grid's omegas, log FID follows the polynomial through them.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from benchmarks.surrogate_noise import Noise, fit_noise, fit_two_way

POINT = ["form", "tau_0", "decay_temperature", "margin", "start_images"]
FULL_SAMPLES = 1_000
PREFIXES = (30, 60, 125, 250, 500, 1_000)
WEAK = [(0.1, 0.05, 1.0), (0.1, 0.25, 1.03), (0.1, 1.0, 1.0), (1.0, 0.05, 1.03)]
"""tau_0, decay and margin at which the baseline stands in for every form."""
WEAK_TRAININGS = 3


@dataclass(frozen=True)
class Point:
    """What a trial trains, without its seed."""

    form: str = "none"
    tau_0: float = 0.0
    decay_temperature: float = 0.0
    margin: float = 0.0
    start_images: int = 0
    """Images seen at which the loss begins: at a fork from the baseline, or 0."""

    @classmethod
    def of(cls, values: Mapping[str, Any], start_images: int = 0) -> "Point":
        """Build from a trial's values by configuration key."""
        fields = {key.removeprefix("contrastive."): value for key, value in values.items()}
        return cls(**fields, start_images=start_images)

    @property
    def inputs(self) -> list[float]:
        """What the effect depends on, each of order 1: mean strength, decay, margin."""
        kappa = self.decay_temperature
        strength = self.tau_0 * kappa * (1 - math.exp(-1 / kappa))
        margin = 20 * (self.margin - 1) if self.form == "hinge" else 0.0
        return [math.log10(strength), math.log10(kappa), margin]


@dataclass(frozen=True)
class Seconds:
    """The seconds of one otherwise idle core: medians of the table's times."""

    training_per_image: float
    sampling_per_image: float
    """It is for one pass of the network per step; guidance takes two."""
    scoring: float
    """The seconds of one score, whatever its N."""

    @classmethod
    def fit(cls, drawn: pd.DataFrame) -> "Seconds":
        """Take the medians over the rows that are whole draws."""
        trained = drawn.groupby([*POINT, "seed", "images"])["training_s"].first().reset_index()
        segment = trained["images"] - trained.groupby([*POINT, "seed"])["images"].shift(
            fill_value=0
        )
        segment -= trained["start_images"].where(segment == trained["images"], 0)
        passes = np.where(drawn["omega"] > 0, 2, 1)
        return cls(
            float((trained["training_s"] / segment).median()),
            float((drawn["sampling_s"] / drawn["num_samples"] / passes).median()),
            float(drawn["scoring_s"].median()),
        )

    def training(self, first: int, last: int) -> float:
        """Return the seconds from one count of images to another."""
        return (last - first) * self.training_per_image

    def sampling(self, num_samples: int, omega: float) -> float:
        """Return the seconds to draw and score so many samples."""
        passes = 1 if omega == 0 else 2
        return num_samples * passes * self.sampling_per_image + self.scoring


@dataclass(frozen=True)
class Surrogate:
    """The fitted model."""

    rungs: tuple[int, ...]
    omegas: tuple[float, ...]
    baseline: np.ndarray
    """log FID (rungs, omegas) at N = 1,000."""
    processes: Mapping[str, GaussianProcessRegressor]
    fork_shares: Mapping[str, float]
    """By form: how much of a whole training's effect a fork has."""
    bias: Mapping[int, float]
    """By N: how much larger FID is than at N = 1,000."""
    noise: Noise
    seconds: Seconds
    fitted: pd.DataFrame
    """For each point of the grid, its final log FID at its best omega: as measured (mean over
    seeds), as predicted from all points, and as predicted from the others alone."""

    @classmethod
    def fit(cls, table: pd.DataFrame) -> "Surrogate":
        """Fit to the rows of the grid."""
        scored = table.dropna(subset=["fid/all"])
        bias = fit_bias(scored)
        drawn = scored[scored["sampling_s"].notna()].copy()
        drawn["log"] = np.log(drawn["fid/all"] - drawn["num_samples"].map(bias))
        wide = drawn.pivot_table(index=[*POINT, "seed"], columns=["images", "omega"], values="log")
        rungs, omegas = (sorted(drawn[name].unique().tolist()) for name in ("images", "omega"))
        forked = wide.index.get_level_values("start_images") > 0
        whole = wide[~forked].dropna()
        means, residuals, seeds = fit_two_way(whole)
        effects = _by_point(means)
        baseline = effects.pop(Point())
        effects = {point: mean - baseline for point, mean in effects.items()}
        noise = fit_noise(scored, residuals, seeds, POINT)
        sizes = whole.groupby(POINT).size()
        counts = {Point(*key): n for key, n in zip(sizes.index, sizes, strict=True)}
        variance = float(np.trace(noise.training_observed)) / len(baseline)
        shape = len(rungs), len(omegas)
        processes = fit_processes(effects, counts, variance)
        forks = wide[forked][[column for column in wide.columns if column[0] == rungs[-1]]]
        return cls(
            tuple(rungs),
            tuple(omegas),
            baseline.reshape(shape),
            processes,
            _fork_shares(forks, whole, effects, baseline[-len(omegas) :]),
            bias,
            noise,
            Seconds.fit(drawn),
            _cross_validated(effects, counts, variance, baseline, omegas),
        )

    def log_fid(self, point: Point) -> np.ndarray:
        """Return the mean log FID (rungs, omegas) at N = 1,000."""
        if point.form == "none":
            return self.baseline
        effect = self.processes[point.form].predict([point.inputs]).reshape(self.baseline.shape)
        if point.start_images:
            share = self.fork_shares.get(point.form, math.nan)
            effect = np.vstack([np.zeros_like(effect[:-1]), share * effect[-1:]])
        found: np.ndarray = self.baseline + effect
        return found

    def final_fid(self, point: Point, omega: float) -> float:
        """Return the final FID without noise, at N = 1,000."""
        return float(np.exp(self.log_fid(point)[-1] @ self.weights(omega)))

    def weights(self, omega: float) -> np.ndarray:
        """Return the weights of the grid's omegas in the polynomial through them."""
        return np.array(
            [
                math.prod((omega - other) / (own - other) for other in self.omegas if other != own)
                for own in self.omegas
            ]
        )

    def bias_at(self, num_samples: int) -> float:
        """Return by how much FID at N is larger than at N = 1,000; linear in 1 / N between."""
        inverse, larger = zip(*sorted((1 / n, b) for n, b in self.bias.items()), strict=True)
        return float(np.interp(1 / num_samples, inverse, larger))


def read_table(path: Path) -> pd.DataFrame:
    """Read the grid's rows."""
    return pd.read_csv(path)


def fit_bias(scored: pd.DataFrame) -> dict[int, float]:
    """Return FID_N minus FID_1000 by N: sums of the median steps between a draw's prefixes.

    A negative median is noise that the draws share: the bias of FID falls with N.
    """
    wide = scored.pivot_table(
        index=[*POINT, "seed", "images", "omega"], columns="num_samples", values="fid/all"
    )
    found, total = {FULL_SAMPLES: 0.0}, 0.0
    for more, fewer in zip(PREFIXES[::-1], PREFIXES[-2::-1], strict=False):
        total += max(0.0, float((wide[fewer] - wide[more]).median()))
        found[fewer] = total
    return found


def fit_processes(
    effects: Mapping[Point, np.ndarray],
    counts: Mapping[Point, int],
    variance: float,
    known: Mapping[str, GaussianProcessRegressor] | None = None,
) -> dict[str, GaussianProcessRegressor]:
    """Fit the effect of each form on all outputs.

    The kernel is exponential: smoother ones overshoot where a strong loss ruins the training, and
    would promise an optimum beside it that nobody has measured.

    Args:
        effects: mean over seeds by point (outputs,).
        counts: trainings behind each.
        variance: of one training's log FID.
        known: processes whose kernels are taken; by default they are fitted.
    """
    found = {}
    for form in sorted({point.form for point in effects}):
        points = [point for point in effects if point.form == form]
        weak = [Point(form, *values) for values in WEAK]
        x = [point.inputs for point in [*points, *weak]]
        y = np.array([*(effects[p] for p in points), *(0 * effects[points[0]] for _ in weak)])
        alpha = [variance / counts[p] for p in points] + [variance / WEAK_TRAININGS] * len(weak)
        scales = Matern([1.0, 1.0, 1.0], (0.3, 30.0), nu=0.5)
        process = GaussianProcessRegressor(
            known[form].kernel_ if known else ConstantKernel(0.1, (1e-4, 100.0)) * scales,
            alpha=np.array(alpha),
            optimizer=None if known else "fmin_l_bfgs_b",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length scale at its bound
            found[form] = process.fit(x, y)
    return found


def _by_point(means: pd.DataFrame) -> dict[Point, np.ndarray]:
    return {Point(*key): row for key, row in zip(means.index, means.to_numpy(), strict=True)}


def _fork_shares(
    forks: pd.DataFrame,
    whole: pd.DataFrame,
    effects: Mapping[Point, np.ndarray],
    baseline: np.ndarray,
) -> dict[str, float]:
    """Return by form the slope of a fork's final effect on the whole training's.

    A fork is compared with the baseline of its own seed, whose first half it shares.
    """
    columns = list(forks.columns)
    own = whole.loc["none", columns].droplevel([*POINT[1:]])
    products: dict[str, list[float]] = {}
    for key, row in zip(forks.index, forks.to_numpy(), strict=True):
        point, seed = Point(*key[:4]), key[5]
        if point in effects and seed in own.index:
            effect = effects[point][-len(baseline) :]
            sums = products.setdefault(point.form, [0.0, 0.0])
            sums[0] += float(effect @ (row - own.loc[seed].to_numpy()))
            sums[1] += float(effect @ effect)
    return {form: above / below for form, (above, below) in products.items()}


def _cross_validated(
    effects: Mapping[Point, np.ndarray],
    counts: Mapping[Point, int],
    variance: float,
    baseline: np.ndarray,
    omegas: Sequence[float],
) -> pd.DataFrame:
    """Predict each point from all points, and from the others alone."""
    last, rows = slice(-len(omegas), None), []
    everyone = fit_processes(effects, counts, variance)
    for point, effect in effects.items():
        others = {known: of for known, of in effects.items() if known != point}
        measured = baseline[last] + effect[last]
        best = int(measured.argmin())
        row = {**vars(point), "trainings": counts[point], "measured": float(measured[best])}
        for name, fitted in (("predicted", everyone), ("from others", None)):
            processes = fitted or fit_processes(others, counts, variance, everyone)
            found = math.nan
            if point.form in processes:
                outputs = processes[point.form].predict([point.inputs])[0]
                found = float((baseline + outputs)[last][best])
            row[name] = found
        rows.append(row)
    return pd.DataFrame(rows)
