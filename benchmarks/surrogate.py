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
from scipy.linalg import cho_solve

from benchmarks.gaussian_process import GaussianProcess
from benchmarks.landscape_table import to_frame
from benchmarks.landscapes import Landscape, Values, point_key
from benchmarks.surrogate_noise import Noise, fit_noise, fit_two_way
from diffrop.schema import flatten
from diffrop.study.space import FORM_KEY, Parameter

FULL_SAMPLES = 1_000
STRENGTH_KEY, START_KEY = "contrastive.tau_0", "contrastive.start_images"
ARCHITECTURE = "model."
"""Keys that begin so change what an image costs."""
RUINED = math.log(1.5)
"""Log scores further above the baseline's are compressed: e becomes r (1 + log(e / r)). How ruined
a training is does not matter, and would be most of what a model has to explain."""

MIN_POINTS = 5
"""Points under which nothing is fitted."""


def compressed(effects: np.ndarray) -> np.ndarray:
    """Return effects on the log score, compressed where a training is ruined."""
    found: np.ndarray = np.where(
        effects > RUINED, RUINED * (1 + np.log(np.maximum(effects, RUINED) / RUINED)), effects
    )
    return found


def expanded(effects: np.ndarray) -> np.ndarray:
    """Undo `compressed`."""
    found: np.ndarray = np.where(
        effects > RUINED, RUINED * np.exp(np.maximum(effects, RUINED) / RUINED - 1), effects
    )
    return found


class Inputs:
    """The points of a landscape as inputs of a Gaussian process, each of order 1."""

    def __init__(self, landscape: Landscape) -> None:
        """Take the space, and the baseline's settings for what a point leaves out."""
        self._parameters = landscape.search_space.parameters
        self._baseline = flatten(landscape.baseline.to_dict())
        self.parameter_of = [
            number
            for number, parameter in enumerate(self._parameters)
            for _ in (parameter.choices or (None,))
        ]
        """The parameter of each input: choices have one each."""

    def of(self, points: Sequence[Values]) -> np.ndarray:
        """Return the inputs (points, inputs)."""
        return np.array([self._row(values) for values in points])

    def _row(self, values: Values) -> list[float]:
        row: list[float] = []
        form = values.get(FORM_KEY, self._baseline[FORM_KEY])
        for parameter in self._parameters:
            value = values.get(parameter.name, self._baseline[parameter.name])
            if parameter.choices is not None:
                # Two choices are a distance of 1 apart.
                row += [math.sqrt(0.5) * (value == choice) for choice in parameter.choices]
            elif parameter.name == STRENGTH_KEY and form == "none":
                row.append(0.0)  # without a loss it is at its weakest
            elif parameter.when and parameter.name not in values:
                row.append(0.5)
            else:
                row.append(share_of(parameter, float(value)))
        return row


def share_of(parameter: Parameter, value: float) -> float:
    """Return where a value lies in a parameter's range, from 0 to 1, on its own scale."""
    assert parameter.low is not None and parameter.high is not None
    ends = np.array([parameter.low, parameter.high, value])
    low, high, own = np.log(ends) if parameter.log else ends
    return float(np.clip((own - low) / (high - low), 0.0, 1.0))


@dataclass(frozen=True)
class Seconds:
    """The seconds of one otherwise idle core: medians of the table's times."""

    training_per_image: float
    sampling_per_image: float
    """It is for one pass of the network; guidance takes two a step, which count here."""
    scoring: float
    """The seconds of one score, whatever its N."""

    @classmethod
    def fit(cls, drawn: pd.DataFrame) -> "Seconds":
        """Take the medians over the rows that are whole draws."""
        passes = np.where(drawn["omega"] > 0, 2, 1)
        return cls(
            float((drawn["training_s"] / drawn["segment"]).median()),
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

    landscape: Landscape
    rungs: tuple[int, ...]
    omegas: tuple[float, ...]
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
    last_noise: np.ndarray
    """(trainings, trainings): covariance of their noise at the last rung."""
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
        rungs, omegas = tuple(landscape.rungs), landscape.omegas
        wide = drawn.pivot_table(
            index=["point", "seed"], columns=["images", "omega"], values="log"
        )
        values = {point_key(content["values"]): content["values"] for content in lines}
        forked = np.array([START_KEY in values[point] for point, _ in wide.index])
        whole = wide[~forked].dropna()
        draws = [point_key(landscape.paired_baseline(values[point])) for point, _ in whole.index]
        whole.index = pd.MultiIndex.from_arrays(
            [
                whole.index.get_level_values("point"),
                draws,
                whole.index.get_level_values("seed"),
            ],
            names=["point", "draws", "seed"],
        )
        baseline = whole.loc["{}"].to_numpy().mean(axis=0)
        effects = pd.DataFrame(compressed(whole.to_numpy() - baseline), whole.index, whole.columns)
        noise = fit_noise(table, objective, fit_two_way(replicated(effects)))
        inputs = Inputs(landscape)
        x = inputs.of([values[point] for point in whole.index.get_level_values("point")])
        own, shared = same_trainings(effects.index)
        processes, covariances = [], []
        for rung in range(len(rungs)):
            part = slice(rung * len(omegas), (rung + 1) * len(omegas))
            observed = float(np.diag(noise.own_observed)[part].mean())
            together = float(np.diag(noise.training_shared)[part].mean())
            covariances.append(observed * own + together * shared)
            processes.append(
                GaussianProcess.fit(
                    x, effects.to_numpy()[:, part], covariances[-1], inputs.parameter_of
                )
            )
        times = {
            str(key): Seconds.fit(rows)
            for key, rows in with_segments(drawn, values).groupby("architecture")
        }
        found = cls(
            landscape,
            rungs,
            omegas,
            baseline.reshape(len(rungs), len(omegas)),
            tuple(processes),
            math.nan,
            bias,
            noise,
            times,
            effects,
            covariances[-1],
            sum(bool(content.get("failed")) for content in lines),
        )
        return replace(found, fork_share=fork_share(found, wide[forked], wide, values))

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
    process, noise = surrogate.processes[-1], surrogate.last_noise
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


def architecture(values: Values) -> str:
    """Return the text of what a point changes of the network."""
    changed = {
        k: v for k, v in values.items() if k.startswith(ARCHITECTURE) and "dropout" not in k
    }
    return point_key(changed)


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


def same_trainings(index: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, n) which trainings are one, and which share their draws and seed, as 0 or 1."""
    draws, seeds = (index.get_level_values(name).to_numpy() for name in ("draws", "seed"))
    shared = (draws[:, None] == draws) & (seeds[:, None] == seeds)
    return np.eye(len(index)), shared.astype(float)


def with_segments(drawn: pd.DataFrame, values: Mapping[str, Values]) -> pd.DataFrame:
    """Add to whole draws the images of their training segment, and what the network is."""
    trained = drawn.groupby(["point", "seed", "images"]).size().reset_index()
    segment = trained.groupby(["point", "seed"])["images"].diff()
    started = trained["point"].map(lambda point: values[point].get(START_KEY, 0))
    trained["segment"] = segment.fillna(trained["images"] - started)
    found = drawn.merge(trained[["point", "seed", "images", "segment"]])
    return found.assign(architecture=[architecture(values[point]) for point in found["point"]])


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


def left_out(surrogate: Surrogate) -> pd.DataFrame:
    """Predict each point's final effect from all points, and from the others alone.

    Returns:
        A row a point of the space (the baselines are none): its mean effect over trainings and
        omegas as `measured`, less what its draws do by the other trainings; `predicted` from all;
        `from_others`; the variance of `measured` that is noise of training and samples
        (`noise`); and the standard deviation that the process gives its prediction from the
        others (`expected`).
    """
    effects, noise, process = surrogate.effects, surrogate.last_noise, surrogate.processes[-1]
    x, y = process.x, effects.to_numpy()[:, -len(surrogate.omegas) :]
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
    num_trainings: int
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
        int(fitted["trainings"].sum()),
        math.sqrt(max(0.0, spread)),
        math.sqrt(max(0.0, float(errors.mean()))),
        math.sqrt(own + together),
        math.sqrt(2 * own),
        noise.freedom,
    )
