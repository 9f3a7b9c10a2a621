"""What a surrogate's processes see: points as numbers of order 1, and compressed effects."""

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.landscapes import RUINED, Landscape, Values
from diffrop.schema import flatten
from diffrop.study.space import FORM_KEY

STRENGTH_KEY = "contrastive.tau_0"
LOG_RUINED = math.log(RUINED)
"""Log scores further above the baseline's are compressed: e becomes r (1 + log(e / r)). How ruined
a training is does not matter, and would be most of what a model has to explain."""


def compressed(effects: np.ndarray) -> np.ndarray:
    """Return effects on the log score, compressed where a training is ruined."""
    found: np.ndarray = np.where(
        effects > LOG_RUINED,
        LOG_RUINED * (1 + np.log(np.maximum(effects, LOG_RUINED) / LOG_RUINED)),
        effects,
    )
    return found


def expanded(effects: np.ndarray) -> np.ndarray:
    """Undo `compressed`."""
    found: np.ndarray = np.where(
        effects > LOG_RUINED,
        LOG_RUINED * np.exp(np.maximum(effects, LOG_RUINED) / LOG_RUINED - 1),
        effects,
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
                row.append(parameter.share_of(float(value)))
        return row
