"""A model of a landscape: what a trial would score, and what it would cost.

It is fitted to a landscape's table, on the logarithm of its objective at N = 1,000; every rung and
omega of the table is an output of its own:

    log score = effect of the point + noise of the draws + own noise of the training + of samples

The effect is a Gaussian process over all parameters of the space, one for each rung. Between the
omegas that were scored, log scores follow the polynomial through them.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.gaussian_process import GaussianProcess
from benchmarks.landscape_table import to_frame
from benchmarks.landscapes import START_KEY, Landscape, Values, point_key
from benchmarks.surrogate_inputs import LOG_RUINED, Inputs, compressed, expanded
from benchmarks.surrogate_noise import Noise, fit_noise, fit_two_way
from benchmarks.surrogate_times import Seconds, architecture, with_segments

FULL_SAMPLES = 1_000
MIN_POINTS = 5
"""Points under which nothing is fitted."""


@dataclass(frozen=True)
class Surrogate:
    """The fitted model."""

    landscape: Landscape
    baseline: np.ndarray
    """Log score of the baseline (rungs, omegas) at N = 1,000, the mean over its trainings."""
    processes: tuple[GaussianProcess, ...]
    """By rung: of the effect on the log score, compressed; its outputs are the omegas."""
    fork_share: float
    """How much of a whole training's effect a fork of the baseline has; NaN if there is none."""
    bias: Mapping[int, float]
    """By N: how much larger the score is than at N = 1,000."""
    noise: Noise
    times: Mapping[str, Seconds]
    """By what a point changes of the network."""
    effects: pd.DataFrame
    """What the processes are fitted to: a row a training, indexed by its point, its draws (the
    point of the baseline at them) and its seed."""
    num_failed: int
    """Trainings that failed: they are in no effect."""

    @classmethod
    def fit(cls, landscape: Landscape, lines: Sequence[Mapping[str, Any]]) -> "Surrogate":
        """Fit to the lines of a table.

        Raises:
            ValueError: the table has no training of the baseline, too few points, or no
                replicates.
        """
        check_enough(landscape, lines)
        table = to_frame([dict(content) for content in lines])
        objective = landscape.objective
        bias = fit_bias(table, objective)
        drawn = table[table["sampling_s"].notna()].copy()
        drawn["log"] = np.log(
            (drawn[objective] - drawn["num_samples"].map(bias)).clip(lower=1e-3 * drawn[objective])
        )
        wide = drawn.pivot_table(
            index=["point", "seed"], columns=["images", "omega"], values="log"
        )
        values = {point_key(content["values"]): content["values"] for content in lines}
        forked = np.array([START_KEY in values[point] for point, _ in wide.index])
        whole = with_draws(wide[~forked].dropna(), landscape, values)
        baseline = whole.loc["{}"].to_numpy().mean(axis=0)
        effects = pd.DataFrame(compressed(whole.to_numpy() - baseline), whole.index, whole.columns)
        noise = fit_noise(table, objective, fit_two_way(replicated(effects)))
        processes = fit_processes(landscape, effects, noise, values)
        times = {
            str(key): Seconds.fit(rows)
            for key, rows in with_segments(drawn, values).groupby("architecture")
        }
        found = cls(
            landscape,
            baseline.reshape(len(landscape.rungs), len(landscape.omegas)),
            processes,
            math.nan,
            bias,
            noise,
            times,
            effects,
            sum(bool(content.get("failed")) for content in lines),
        )
        return replace(found, fork_share=fork_share(found, wide[forked], wide, values))

    @property
    def rungs(self) -> tuple[int, ...]:
        """Images seen."""
        return tuple(self.landscape.rungs)

    @property
    def omegas(self) -> tuple[float, ...]:
        """Those of the table."""
        return self.landscape.omegas

    @cached_property
    def inputs(self) -> Inputs:
        """The points as inputs of the processes."""
        return Inputs(self.landscape)

    def log_scores(self, points: Sequence[Values]) -> np.ndarray:
        """Return the mean log scores (points, rungs, omegas) at N = 1,000."""
        x = self.inputs.of(points)
        effects = [expanded(process.predict(x)) for process in self.processes]
        found = self.baseline + np.stack(effects, axis=1)
        for i, values in enumerate(points):
            if values.get(START_KEY, 0):
                before = self.baseline[:-1]
                last = self.baseline[-1] + self.fork_share * (found[i, -1] - self.baseline[-1])
                found[i] = np.vstack([before, last])
        return found

    def final_score(self, values: Values, omega: float) -> float:
        """Return the final score without noise, at N = 1,000."""
        return float(np.exp(self.log_scores([values])[0, -1] @ self.weights(omega)))

    def uncertainty(self, points: Sequence[Values]) -> np.ndarray:
        """Return the standard deviation (points,) of the final log score's effect."""
        found: np.ndarray = np.sqrt(self.processes[-1].variance(self.inputs.of(points)))
        return found

    def may_be_sound(self, points: Sequence[Values]) -> np.ndarray:
        """Return which points (points,) are no ruin by their prediction less one deviation."""
        effects = compressed(self.log_scores(points)[:, -1] - self.baseline[-1])
        found: np.ndarray = effects.min(axis=1) - self.uncertainty(points) < LOG_RUINED
        return found

    def seconds(self, values: Values) -> Seconds:
        """Return the times of a point's network; the baseline's if that was never trained."""
        found = self.times.get(architecture(values))
        return found if found is not None else self.times["{}"]

    def weights(self, omega: float) -> np.ndarray:
        """Return the weights of the table's omegas in the polynomial through them."""
        return np.array(
            [
                math.prod((omega - other) / (own - other) for other in self.omegas if other != own)
                for own in self.omegas
            ]
        )

    def bias_at(self, num_samples: int) -> float:
        """Return by how much the score at N is larger than at 1,000; linear in 1 / N between."""
        inverse, larger = zip(*sorted((1 / n, b) for n, b in self.bias.items()), strict=True)
        return float(np.interp(1 / num_samples, inverse, larger))

    def without_effects(self) -> "Surrogate":
        """Return the null landscape: every point is the baseline, the noise is as it is."""
        flat = tuple(
            replace(p, mean=0 * p.mean, weights=np.zeros_like(p.weights)) for p in self.processes
        )
        return replace(self, processes=flat)


def most_uncertain(surrogate: Surrogate, points: Sequence[Values], count: int) -> list[Values]:
    """Return the points that are least known: each once those chosen before it are trained."""
    process = surrogate.processes[-1]
    noise = process.noise
    x = surrogate.inputs.of(points)
    typical = float(np.diag(noise).mean())
    chosen: list[int] = []
    for _ in range(min(count, len(points))):
        chosen.append(int(process.variance(x).argmax()))
        known, y = np.vstack([process.x, x[chosen[-1:]]]), process.predict(process.x)
        noise = np.pad(noise, (0, 1))
        noise[-1, -1] = typical
        y = np.vstack([y, process.predict(x[chosen[-1:]])])  # variances do not depend on it
        process = GaussianProcess.fit(known, y, noise, process.parameter_of, process)
    return [points[i] for i in chosen]


def check_enough(landscape: Landscape, lines: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a table that no model can be fitted to.

    Raises:
        ValueError: saying what is missing.
    """
    whole = [content["values"] for content in lines if not content.get("failed")]
    points = {point_key(values) for values in whole if START_KEY not in values}
    if point_key({}) not in points:
        raise ValueError(f"the table of {landscape.name} has no training of the baseline")
    if len(points) <= MIN_POINTS:
        raise ValueError(
            f"the table of {landscape.name} has {len(points) - 1} points beside the baseline; "
            f"needed: at least {MIN_POINTS}"
        )


def replicated(effects: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the points with several seeds.

    Raises:
        ValueError: there is none.
    """
    points = pd.Series(effects.index.get_level_values("point"))
    found = effects[points.duplicated(keep=False).to_numpy()]
    if found.empty:
        raise ValueError("no point has several seeds: the noise of a training is unknown")
    return found


def with_draws(
    whole: pd.DataFrame, landscape: Landscape, values: Mapping[str, Values]
) -> pd.DataFrame:
    """Index trainings by point, draws (the point of the baseline at them) and seed."""
    points, seeds = (whole.index.get_level_values(name) for name in ("point", "seed"))
    draws = [point_key(landscape.paired_baseline(values[point])) for point in points]
    index = pd.MultiIndex.from_arrays([points, draws, seeds], names=["point", "draws", "seed"])
    return whole.set_axis(index)


def fit_processes(
    landscape: Landscape, effects: pd.DataFrame, noise: Noise, values: Mapping[str, Values]
) -> tuple[GaussianProcess, ...]:
    """Return a process of each rung, with the noise that its trainings have and share."""
    inputs, num_omegas = Inputs(landscape), len(landscape.omegas)
    x = inputs.of([values[point] for point in effects.index.get_level_values("point")])
    own, shared = same_trainings(effects.index)
    processes = []
    for rung in range(len(landscape.rungs)):
        part = slice(rung * num_omegas, (rung + 1) * num_omegas)
        observed = float(np.diag(noise.own_observed)[part].mean())
        together = float(np.diag(noise.training_shared)[part].mean())
        covariance = observed * own + together * shared
        y = effects.to_numpy()[:, part]
        processes.append(GaussianProcess.fit(x, y, covariance, inputs.parameter_of))
    return tuple(processes)


def same_trainings(index: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, n) which trainings are one, and which share their draws and seed, as 0 or 1."""
    draws, seeds = (index.get_level_values(name).to_numpy() for name in ("draws", "seed"))
    shared = (draws[:, None] == draws) & (seeds[:, None] == seeds)
    return np.eye(len(index)), shared.astype(float)


def fit_bias(table: pd.DataFrame, objective: str) -> dict[int, float]:
    """Return the score at N less that at 1,000, by N: sums of median steps between prefixes.

    A negative median is noise that the draws share: the bias of FID falls with N. Where no draw
    has 1,000 samples, the last step continues in proportion to 1 / N.
    """
    wide = table.pivot_table(
        index=["point", "seed", "images", "omega"], columns="num_samples", values=objective
    )
    counts = sorted((int(count) for count in wide.columns), reverse=True)
    found: dict[int, float] = {counts[0]: 0.0}
    for more, fewer in itertools.pairwise(counts):
        step = max(0.0, float((wide[fewer] - wide[more]).median()))
        found[fewer] = found[more] + step
    if counts[0] < FULL_SAMPLES:
        more, fewer = counts[:2]
        slope = found[fewer] / (1 / fewer - 1 / more)
        rest = slope * (1 / more - 1 / FULL_SAMPLES)
        found = {FULL_SAMPLES: 0.0} | {count: bias + rest for count, bias in found.items()}
    return found


def fork_share(
    surrogate: Surrogate, forks: pd.DataFrame, wide: pd.DataFrame, values: Mapping[str, Values]
) -> float:
    """Return the slope of forks' final effects on those of whole trainings; NaN without forks.

    A fork is compared with the baseline of its own seed, whose first half it shares.
    """
    columns = [(surrogate.rungs[-1], omega) for omega in surrogate.omegas]
    baselines = wide.loc["{}"][columns]
    above = below = 0.0
    for (point, seed), row in zip(forks.index, forks[columns].to_numpy(), strict=True):
        whole = {key: value for key, value in values[point].items() if key != START_KEY}
        effect = surrogate.log_scores([whole])[0, -1] - surrogate.baseline[-1]
        if seed in baselines.index:
            own = row - baselines.loc[seed].to_numpy()
            above, below = above + float(effect @ own), below + float(effect @ effect)
    return above / below if below else math.nan
