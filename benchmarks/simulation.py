"""Studies on the surrogate: workers, noise, and what a study has found."""

import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.landscapes import Values, point_key, sobol_points
from benchmarks.surrogate import FULL_SAMPLES, Surrogate
from benchmarks.surrogate_noise import root

OMEGAS = (0.0, 2.0)
"""What is searched: the range of the engine's own grid."""
NUM_OMEGAS = 17
NUM_POINTS = 4_096
SAMPLES_STEP = 10
"""Sampling noise is drawn once for this many samples."""
TOP_SHARE = 0.1
"""The leader is wrong if it is not in the best tenth of the points."""
NORMAL_95 = 1.96
Trial = Iterator[float]
"""A trial in progress: it yields the seconds that its next piece of work takes, and is resumed
when they have passed."""


def simulate(
    begin: Callable[[], Trial | None], num_workers: int, start_s: float = 0.0
) -> Iterator[float]:
    """Run trials on workers that are never idle; yields the time whenever a trial has ended.

    Args:
        begin: returns the next trial, None if there is none.
        num_workers: trials at a time.
        start_s: time at which the workers start.
    """
    queue: list[tuple[float, int, Trial | None]]
    queue = [(start_s, worker, None) for worker in range(num_workers)]
    while queue:
        now, worker, trial = heapq.heappop(queue)
        while True:
            if trial is None:
                trial = begin()
            if trial is None:
                break
            seconds = next(trial, None)
            if seconds is not None:
                heapq.heappush(queue, (now + seconds, worker, trial))
                break
            trial = None
            yield now


class StudyNoise:
    """The noise of one study: what its trainings and draws share, and the source of the rest."""

    def __init__(self, surrogate: Surrogate, seed: int, common: bool) -> None:
        """Draw what is shared.

        Args:
            surrogate: with the noise's covariances.
            seed: of all noise of the study.
            common: whether trials train with one seed and sample from common random numbers; else
                what they would share is drawn anew for each.
        """
        noise = surrogate.noise
        self._rng = np.random.default_rng(seed)
        self._common = common
        self._own = root(noise.training), [root(part) for part in noise.sampling]
        self._of_draws = root(noise.training_shared)
        self._of_samples = [root(part) for part in noise.sampling_shared]
        self._draws: dict[str, np.ndarray] = {}
        self._samples = self._paths(self._of_samples)

    def draw(self, draws: str) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the noise of a training (outputs,), and by rung that of its samples.

        The latter are sums over the first 10, 20, ... samples (steps, omegas): divided by their
        number they are the noise of the log score, so that few samples are a part of many.

        Args:
            draws: what the training's draws are; trainings of one study share the noise of equal
                ones.
        """
        own, samples = self._normal(self._own[0]), self._paths(self._own[1])
        if self._common:
            if draws not in self._draws:
                self._draws[draws] = self._normal(self._of_draws)
            together, drawn = self._draws[draws], self._samples
        else:
            together, drawn = self._normal(self._of_draws), self._paths(self._of_samples)
        return own + together, [a + b for a, b in zip(samples, drawn, strict=True)]

    def _normal(self, matrix: np.ndarray, *shape: int) -> np.ndarray:
        found: np.ndarray = self._rng.standard_normal((*shape, len(matrix))) @ matrix.T
        return found

    def _paths(self, roots: list[np.ndarray]) -> list[np.ndarray]:
        steps = FULL_SAMPLES // SAMPLES_STEP
        return [SAMPLES_STEP**0.5 * self._normal(part, steps).cumsum(axis=0) for part in roots]


class SimulatedTraining:
    """One training, which can be scored at any rung and omega on any number of samples."""

    def __init__(self, surrogate: Surrogate, values: Values, noise: StudyNoise) -> None:
        """Draw the noise of the training."""
        draws = point_key(surrogate.landscape.paired_baseline(values))
        training, self._paths = noise.draw(draws)
        mean = surrogate.log_scores([values])[0]
        self._log_score = mean + training.reshape(mean.shape)
        self._surrogate = surrogate

    def score(self, images: int, omega: float, num_samples: int) -> float:
        """Return a noisy score; the same samples always give the same."""
        rung = self._surrogate.rungs.index(images)
        step = max(1, round(num_samples / SAMPLES_STEP))
        sampling = self._paths[rung][step - 1] / (step * SAMPLES_STEP)
        log = (self._log_score[rung] + sampling) @ self._surrogate.weights(omega)
        return max(0.0, float(np.exp(log)) + self._surrogate.bias_at(num_samples))


def over_omegas(surrogate: Surrogate, points: Sequence[Values]) -> np.ndarray:
    """Return final log scores (points, omegas) over the range of omega that is searched."""
    weights = np.array([surrogate.weights(omega) for omega in np.linspace(*OMEGAS, NUM_OMEGAS)])
    found: np.ndarray = surrogate.log_scores(points)[:, -1] @ weights.T
    return found


def at_best_omega(surrogate: Surrogate, points: Sequence[Values]) -> np.ndarray:
    """Return the final log scores (points,) of points at their best omegas."""
    found: np.ndarray = over_omegas(surrogate, points).min(axis=1)
    return found


@dataclass(frozen=True)
class Truth:
    """What there is to find: final log scores without noise over a sample of the space."""

    at_omegas: np.ndarray
    """Of every point and omega, ascending: what is searched are both."""
    at_best: np.ndarray
    """Of every point at its best omega, ascending."""
    best: dict[str, object]
    """The best point."""
    worst: dict[str, object]
    """The worst point."""

    @classmethod
    def of(cls, surrogate: Surrogate) -> "Truth":
        """Take points that are spread evenly over the space, as in a random search."""
        landscape = surrogate.landscape
        points = list(itertools.islice(sobol_points(landscape.search_space, seed=0), NUM_POINTS))
        found = over_omegas(surrogate, points)
        at_best = found.min(axis=1)
        best, worst = (points[int(at(at_best))] for at in (np.argmin, np.argmax))
        return cls(np.sort(found.ravel()), np.sort(at_best), best, worst)

    def threshold(self, share: float, at_best_omega: bool = False) -> float:
        """Return the log score that a share of the points, or of points and omegas, is under."""
        values = self.at_best if at_best_omega else self.at_omegas
        return float(values[min(len(values) - 1, int(share * len(values)))])

    @property
    def start(self) -> float:
        """What one has before the first trial has ended: the median of the points."""
        return float(np.median(self.at_best))


@dataclass
class Leader:
    """The trial that looks best by a study's own scores, and what it truly is."""

    surrogate: Surrogate
    score: float = math.inf
    truth: float = math.inf
    """Final log score without noise, at the omega that was chosen."""
    at_best: float = math.inf
    """The same at the best omega of that point."""
    omega: float = 0.0
    baseline: float = math.nan
    """The baseline's score in this study; NaN where it has none."""
    stopped: list[Values] = field(default_factory=list)
    """Points whose trials were ended before their last rung."""

    def complete(self, values: Values, omega: float, score: float) -> None:
        """Take up a trial that was trained and scored in full."""
        if score < self.score:
            final = self.surrogate.log_scores([values])[0, -1]
            self.score, self.omega = score, omega
            self.truth = float(final @ self.surrogate.weights(omega))
            self.at_best = float(at_best_omega(self.surrogate, [values])[0])

    @property
    def named_better(self) -> bool:
        """Whether a study would call it better than the baseline by its interval over samples.

        That is the 95 % interval of the difference of two scores at N = 1,000, paired over common
        noise. The noise of the training is in neither.
        """
        weights = self.surrogate.weights(self.omega)
        variance = 2 * float(weights @ self.surrogate.noise.sampling[-1] @ weights) / FULL_SAMPLES
        difference = math.log(max(self.score, 1e-9) / self.baseline)
        return difference < -NORMAL_95 * math.sqrt(variance)


@dataclass(frozen=True)
class Course:
    """What one study named as its best, over the work that it had done."""

    seconds: np.ndarray
    """Seconds of work of all workers, ascending, at which the leader changed."""
    regrets: np.ndarray
    """Log score of the leader, without noise, less the best of the space; from then on."""
    start: float
    """Regret before the first trial has ended."""

    def at(self, seconds: float) -> float:
        """Return the regret when so much work is done."""
        place = int(np.searchsorted(self.seconds, seconds, side="right"))
        return float(self.regrets[place - 1]) if place else self.start

    def area(self, first: float, last: float) -> float:
        """Return the mean regret over the logarithm of the work, from `first` to `last` seconds.

        It is the area under the curve over its length.
        """
        inside = (self.seconds > first) & (self.seconds < last)
        times = np.concatenate([[first], self.seconds[inside], [last]])
        values = np.array([self.at(first), *self.regrets[inside]])
        return float(values @ np.diff(np.log(times)) / math.log(last / first))
