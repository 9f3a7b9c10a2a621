"""A Gaussian process over mixed and conditional settings, with known noise of each training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

SCALES = (0.2, 20.0)
"""Length scales, in shares of a parameter's range; that of choices is in units of one change."""
AMPLITUDES = (1e-4, 10.0)


@dataclass(frozen=True)
class GaussianProcess:
    """The posterior of a function of settings, for several outputs that share its kernel.

    The kernel is a^2 exp(-r), r^2 the sum over parameters of squared differences by length scale
    (Matern 1/2): smoother ones overshoot where a strong loss ruins a training, and would promise
    an optimum beside it that nobody has measured. The mean is a constant, fitted with the rest.
    """

    x: np.ndarray
    """(trials, inputs)."""
    parameter_of: np.ndarray
    """(inputs,): to which parameter an input belongs; a parameter has one length scale."""
    log_scales: np.ndarray
    """(parameters,)."""
    log_amplitude: float
    noise: np.ndarray
    """(trials, trials): covariance of the noise."""
    mean: np.ndarray
    """(outputs,): the constant."""
    weights: np.ndarray
    """(trials, outputs): K^-1 (y - mean)."""
    factor: tuple[np.ndarray, bool]

    @classmethod
    def fit(
        cls,
        x: np.ndarray,
        y: np.ndarray,
        noise: np.ndarray,
        parameter_of: Sequence[int] | np.ndarray,
        known: "GaussianProcess | None" = None,
    ) -> "GaussianProcess":
        """Fit to what trials scored.

        Args:
            x: inputs (trials, inputs), shares of the parameters' ranges.
            y: scores (trials, outputs).
            noise: covariance (trials, trials).
            parameter_of: parameter of each input.
            known: process whose kernel is taken; by default that of the greatest likelihood.
        """
        places = np.asarray(parameter_of)
        if known is not None:
            log_scales, log_amplitude = known.log_scales, known.log_amplitude
        else:
            # By squared difference and parameter, (parameters, trials, trials).
            squares = _squares(x, x, places)
            start = np.array([0.0] * len(squares) + [np.log(max(y.std(), 0.05))])
            bounds = [np.log(SCALES)] * len(squares) + [np.log(AMPLITUDES)]

            def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
                return _negative_log_likelihood(theta, squares, y, noise)

            found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
            log_scales, log_amplitude = found[:-1], float(found[-1])
        kernel = _kernel(_squares(x, x, places), log_scales, log_amplitude)
        factor = cho_factor(kernel + noise)
        ones = np.ones(len(x))
        solved = cho_solve(factor, ones)
        mean = solved @ y / (solved @ ones)
        weights = cho_solve(factor, y - mean)
        return cls(x, places, log_scales, log_amplitude, noise, mean, weights, factor)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the means (points, outputs) at inputs (points, inputs)."""
        found: np.ndarray = self.mean + self._to_trials(x) @ self.weights
        return found

    def variance(self, x: np.ndarray) -> np.ndarray:
        """Return the variance (points,) at inputs (points, inputs): that of every output."""
        cross = self._to_trials(x)
        left = np.einsum("ij,ji->i", cross, cho_solve(self.factor, cross.T))
        found: np.ndarray = np.maximum(np.exp(2 * self.log_amplitude) - left, 0.0)
        return found

    def _to_trials(self, x: np.ndarray) -> np.ndarray:
        squares = _squares(x, self.x, self.parameter_of)
        return _kernel(squares, self.log_scales, self.log_amplitude)


def _squares(one: np.ndarray, other: np.ndarray, parameter_of: np.ndarray) -> np.ndarray:
    """Return squared differences by parameter (parameters, rows of one, rows of other)."""
    found = np.zeros((parameter_of.max() + 1, len(one), len(other)))
    for column, parameter in enumerate(parameter_of):
        found[parameter] += (one[:, column, None] - other[None, :, column]) ** 2
    return found


def _kernel(squares: np.ndarray, log_scales: np.ndarray, log_amplitude: float) -> np.ndarray:
    distance = np.sqrt(np.tensordot(np.exp(-2 * log_scales), squares, axes=1))
    found: np.ndarray = np.exp(2 * log_amplitude - distance)
    return found


def _negative_log_likelihood(
    theta: np.ndarray, squares: np.ndarray, y: np.ndarray, noise: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return it and its gradient in the logarithms of length scales and amplitude.

    The constant mean is that of generalised least squares, whose own derivative vanishes.
    """
    log_scales, log_amplitude = theta[:-1], float(theta[-1])
    kernel = _kernel(squares, log_scales, log_amplitude)
    factor = cho_factor(kernel + noise)
    inverse = cho_solve(factor, np.eye(len(y)))
    mean = inverse.sum(axis=0) @ y / inverse.sum()
    weights = inverse @ (y - mean)
    loss = 0.5 * float(((y - mean) * weights).sum())
    loss += y.shape[1] * float(np.log(np.diag(factor[0])).sum())
    # dL/dK = (outputs K^-1 - W W^T) / 2; dr/dlog l = -squares / l^2 / r.
    slope = 0.5 * (y.shape[1] * inverse - weights @ weights.T) * kernel
    distance = np.maximum(2 * log_amplitude - np.log(kernel), 1e-12)
    by_scale = np.tensordot(squares, slope / distance, axes=2) * np.exp(-2 * log_scales)
    return loss, np.append(by_scale, 2 * slope.sum())
