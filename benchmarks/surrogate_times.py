"""What a trial would cost, by the times in a landscape's table."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.landscapes import START_KEY, Values, point_key

ARCHITECTURE = "model."
"""Keys that begin so change what an image costs."""


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


def architecture(values: Values) -> str:
    """Return the text of what a point changes of the network."""
    changed = {
        k: v for k, v in values.items() if k.startswith(ARCHITECTURE) and "dropout" not in k
    }
    return point_key(changed)


def with_segments(drawn: pd.DataFrame, values: Mapping[str, Values]) -> pd.DataFrame:
    """Add to whole draws the images of their training segment, and what the network is."""
    trained = drawn.groupby(["point", "seed", "images"]).size().reset_index()
    segment = trained.groupby(["point", "seed"])["images"].diff()
    started = trained["point"].map(lambda point: values[point].get(START_KEY, 0))
    trained["segment"] = segment.fillna(trained["images"] - started)
    found = drawn.merge(trained[["point", "seed", "images", "segment"]])
    return found.assign(architecture=[architecture(values[point]) for point in found["point"]])
