"""What the tables say: scores of trainings, and differences of arms over the same seeds."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.evidence.arms import Arm
from benchmarks.evidence.table import CLASSIFIED

LEVEL = 0.95
POWER = 0.8
"""With which a difference of `detectable` would be seen."""
Side = Literal["lower", "higher", "open"]


def final_scores(frame: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """Return an arm's scores at the end of training, a row a seed, indexed by it.

    Each training is scored at the omega that is best for its fid/all, as a study does. A training
    that failed is left out.
    """
    rows = at_best_omega(whole_rows(frame, arm))
    return rows.set_index("seed").sort_index()


def scores_by_seed(frame: pd.DataFrame, arm: Arm, score: str) -> pd.Series:
    """Return one score of an arm at the end of training, by seed.

    Classifiers are trained on the samples of one omega, so that their accuracy is of that.
    """
    if score in CLASSIFIED:
        return whole_rows(frame, arm).dropna(subset=[score]).set_index("seed")[score]
    return final_scores(frame, arm)[score]


def whole_rows(frame: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """Return an arm's scores on all samples at the end of training, at every omega."""
    own = rows_of(frame, arm)
    own = own[own["images"] == frame["images"].max()]
    return own[own["num_samples"] == frame["num_samples"].max()]


def rows_of(frame: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """Return all rows of an arm but those of a training that failed."""
    return frame[(frame["settings"] == arm.key) & frame["fid/all"].notna()]


def at_best_omega(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, of each training at each rung and number of samples, the row of its best omega."""
    places = rows.groupby(["settings", "seed", "images", "num_samples"])["fid/all"].idxmin()
    return rows.loc[places]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, with its t interval."""

    mean: float
    deviation: float
    """Of one seed."""
    num: int

    @classmethod
    def of(cls, values: pd.Series) -> "Estimate":
        """Return that of some values, NaN left out."""
        found = values.dropna().to_numpy(float)
        if len(found) < 2:
            return cls(float(found.mean()) if len(found) else math.nan, math.nan, len(found))
        return cls(float(found.mean()), float(found.std(ddof=1)), len(found))

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.deviation / math.sqrt(self.num) if self.num else math.nan

    @property
    def half_width(self) -> float:
        """Half the width of the 95 % interval."""
        if self.num < 2:
            return math.nan
        return float(stats.t.ppf(0.5 + LEVEL / 2, self.num - 1)) * self.error

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.mean + self.half_width

    @property
    def p_value(self) -> float:
        """Probability of a mean so far from 0, or further, if the true one is 0."""
        if self.num < 2 or self.error == 0:
            return 1.0 if self.num < 2 or self.mean == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.mean) / self.error, self.num - 1))

    @property
    def detectable(self) -> float:
        """The true difference that so many seeds show with probability 0.8."""
        if self.num < 2:
            return math.nan
        return detectable(self.error, self.num - 1)


def detectable(error: float, degrees: int) -> float:
    """Return the mean that a two-sided t test at 5 % finds with a power of 0.8.

    Args:
        error: standard error of the mean.
        degrees: of freedom, 1 or more.
    """
    critical = stats.t.ppf(0.5 + LEVEL / 2, degrees)

    def power(effect: float) -> float:
        shift = effect / error
        return float(
            stats.nct.sf(critical, degrees, shift) + stats.nct.cdf(-critical, degrees, shift)
        )

    if error == 0:
        return 0.0
    low, high = 0.0, error
    while power(high) < POWER:  # far beyond it, the distribution cannot be computed
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) > POWER else (middle, high)
    return high


def difference(frame: pd.DataFrame, arm: Arm, against: Arm, score: str) -> Estimate:
    """Return what a score of an arm is less another's, over the seeds that both have."""
    own, other = (scores_by_seed(frame, one, score) for one in (arm, against))
    return Estimate.of(own - other)


def num_failed(frame: pd.DataFrame, key: str) -> int:
    """Return how many trainings of an arm, by its key, failed, and are in no estimate."""
    own = frame[(frame["settings"] == key) & frame["fid/all"].isna()]
    return int(own["seed"].nunique())


def holm(p_values: list[float]) -> list[float]:
    """Return p values that hold for all of a family together (Holm, 1979)."""
    order = np.argsort(p_values)
    found, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        found[index] = largest
    return found


def side_of(estimate: Estimate) -> Side:
    """Return on which side of 0 the whole interval lies."""
    if estimate.high < 0:
        return "lower"
    return "higher" if estimate.low > 0 else "open"
