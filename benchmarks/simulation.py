"""Studies on the surrogate: workers, noise, and what a study has found."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from benchmarks.surrogate import FULL_SAMPLES, Point, Surrogate
from benchmarks.surrogate_noise import root
from diffrop.search.space import FORM_KEY, SearchSpace

SAMPLES_STEP = 10
"""Sampling noise is drawn for every so many samples."""
Trial = Iterator[float]
"""A trial in progress: it yields the seconds that its next piece of work takes, and is resumed
when these have passed."""


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
            common: whether trials train and sample from common random numbers; else what they
                would share is drawn anew for each.
        """
        noise = surrogate.noise
        self._rng = np.random.default_rng(seed)
        self._common = common
        self._own = root(noise.training), [root(part) for part in noise.sampling]
        self._together = root(noise.training_shared), [root(p) for p in noise.sampling_shared]
        self._shared = self._draw(self._together)

    def draw(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the noise of a training (outputs,), and by rung that of its samples.

        The latter are sums over the first 10, 20, ... samples (steps, omegas): divided by their
        number they are the noise of log FID, so that few samples are a part of many.
        """
        own = self._draw(self._own)
        together = self._shared if self._common else self._draw(self._together)
        return own[0] + together[0], [a + b for a, b in zip(own[1], together[1], strict=True)]

    def _draw(
        self, roots: tuple[np.ndarray, list[np.ndarray]]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        def normal(matrix: np.ndarray, *shape: int) -> np.ndarray:
            found: np.ndarray = self._rng.standard_normal((*shape, len(matrix))) @ matrix.T
            return found

        steps = FULL_SAMPLES // SAMPLES_STEP
        paths = [SAMPLES_STEP**0.5 * normal(part, steps).cumsum(axis=0) for part in roots[1]]
        return normal(roots[0]), paths


class SimulatedTraining:
    """One training, which can be scored at any rung and omega on any number of samples."""

    def __init__(self, surrogate: Surrogate, point: Point, noise: StudyNoise) -> None:
        """Train."""
        training, self._paths = noise.draw()
        mean = surrogate.log_fid(point)
        self._log_fid = mean + training.reshape(mean.shape)
        self._surrogate = surrogate

    def fid(self, images: int, omega: float, num_samples: int) -> float:
        """Return a noisy fid/all; the same samples always give the same."""
        rung = self._surrogate.rungs.index(images)
        step = max(1, round(num_samples / SAMPLES_STEP))
        sampling = self._paths[rung][step - 1] / (step * SAMPLES_STEP)
        log = (self._log_fid[rung] + sampling) @ self._surrogate.weights(omega)
        return max(0.0, float(np.exp(log)) + self._surrogate.bias_at(num_samples))


@dataclass
class Quest:
    """Whether a study's best trial, by its own scores, is truly among the best of the space."""

    surrogate: Surrogate
    threshold: float
    """A final FID without noise."""
    reached: bool = False
    value: float = field(default=float("inf"))
    """The least score so far."""
    truth: float = field(default=float("inf"))
    """The final FID without noise of that trial."""

    def complete(self, point: Point, omega: float, score: float) -> None:
        """Take up a trial that was trained and scored in full."""
        if score < self.value:
            self.value, self.truth = score, self.surrogate.final_fid(point, omega)
            self.reached = self.reached or self.truth <= self.threshold


def best_share(
    surrogate: Surrogate, space: SearchSpace, share: float, start_images: int = 0
) -> tuple[float, list[float]]:
    """Return the final FID, without noise, that a share of the space is at or under.

    The space is taken on a fine grid, each point at its best omega of the grid's; every form has
    the same weight, as in a random search.

    Returns:
        That FID, and those of all points, ascending.
    """
    parameters = {parameter.name: parameter for parameter in space.parameters}

    def axis(name: str, count: int) -> np.ndarray:
        low, high = parameters[name].low, parameters[name].high
        assert low is not None and high is not None
        found = np.geomspace if parameters[name].log else np.linspace
        edges = found(low, high, 2 * count + 1)
        middle: np.ndarray = edges[1::2]
        return middle

    fids, weights = [], []
    for form in parameters[FORM_KEY].choices or ():
        margins = axis("contrastive.margin", 5) if form == "hinge" else np.zeros(1)
        for tau_0 in axis("contrastive.tau_0", 30):
            for decay in axis("contrastive.decay_temperature", 10):
                for margin in margins:
                    point = Point(form, tau_0, decay, margin, start_images)
                    fids.append(float(np.exp(best_log_fid(surrogate, point))))
                    weights.append(1 / len(margins))
    order = np.argsort(fids)
    below = np.cumsum(np.array(weights)[order]) / sum(weights)
    place = int(np.searchsorted(below, share))
    return fids[order[place]], [fids[i] for i in order]


def best_log_fid(surrogate: Surrogate, point: Point) -> float:
    """Return the final log FID without noise, at the best omega of a fine grid."""
    last = surrogate.log_fid(point)[-1]
    fine = np.linspace(min(surrogate.omegas), max(surrogate.omegas), 17)
    return float(min(last @ surrogate.weights(omega) for omega in fine))
