"""Studies on the surrogate: workers, noise, and what a study has found."""

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.surrogate import FULL_SAMPLES, Point, Surrogate
from benchmarks.surrogate_noise import root
from diffrop.study.space import FORM_KEY, Parameter, SearchSpace

NUM_OMEGAS = 17
NUM_VALUES = {"contrastive.tau_0": 30, "contrastive.decay_temperature": 10}
"""Number of values of a parameter on the fine grid; other parameters have 5."""
SAMPLES_STEP = 10
"""Sampling noise is drawn once for this many samples."""
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
        """Draw the noise of the training."""
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
    """Follows whether the best trial by a study's own scores is truly among the best."""

    surrogate: Surrogate
    threshold: float
    """A final FID without noise."""
    reached: bool = False
    value: float = field(default=float("inf"))
    """The lowest score so far."""
    truth: float = field(default=float("inf"))
    """The final FID without noise of that trial."""

    def complete(self, point: Point, omega: float, score: float) -> None:
        """Take up a trial that was trained and scored in full."""
        if score < self.value:
            self.value, self.truth = score, self.surrogate.final_fid(point, omega)
            self.reached = self.reached or self.truth <= self.threshold


def best_share(
    surrogate: Surrogate, space: SearchSpace, share: float, at_best_omega: bool
) -> tuple[float, np.ndarray]:
    """Return the final FID, without noise, that a share of the searched grid is at or under.

    The grid is fine, even on each parameter's scale, and every form has the same weight, as in a
    random search.

    Args:
        surrogate: gives the FIDs.
        space: its parameters are those of the contrastive loss.
        share: of the grid, 0 to 1.
        at_best_omega: whether each point counts once, at its best omega, or at every omega: what
            is searched are both.

    Returns:
        That FID, and those of the whole grid, ascending.
    """
    axes = {parameter.name: _middles(parameter) for parameter in space.parameters}
    omegas = np.linspace(min(surrogate.omegas), max(surrogate.omegas), NUM_OMEGAS)
    weights = np.array([surrogate.weights(omega) for omega in omegas]).T
    found, counts = [], []
    for form in axes[FORM_KEY]:
        margins = axes["contrastive.margin"] if form == "hinge" else [0.0]
        rest = axes["contrastive.tau_0"], axes["contrastive.decay_temperature"], margins
        for values in itertools.product(*rest):
            fids = np.exp(surrogate.log_fid(Point(form, *values))[-1] @ weights)
            found.append(fids.min(keepdims=True) if at_best_omega else fids)
            counts.append(1 / len(margins))
    sizes = np.repeat(counts, len(found[0]))
    fids = np.concatenate(found)
    order = np.argsort(fids)
    below = np.cumsum(sizes[order]) / sizes.sum()
    return float(fids[order[np.searchsorted(below, share)]]), fids[order]


def _middles(parameter: Parameter) -> Sequence[Any]:
    """Return a parameter's choices, or the middles of equal parts of its range."""
    if parameter.choices is not None:
        return parameter.choices
    assert parameter.low is not None and parameter.high is not None
    edges = (np.geomspace if parameter.log else np.linspace)(
        parameter.low, parameter.high, 2 * NUM_VALUES.get(parameter.name, 5) + 1
    )
    return [float(value) for value in edges[1::2]]
