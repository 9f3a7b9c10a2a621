"""What the evidence compares: methods on a setting, each trained with several seeds."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from diffrop.config import ExperimentConfig
from diffrop.presets import apply_preset
from diffrop.recipes import recipe

Values = Mapping[str, Any]
"""Settings by dotted key."""
TrainingSet = Literal["long-tailed", "with generated"]
"""Of a classifier: the training images alone, or with as many generated ones as are scored."""
CLASSIFIED_AT = 1.0
"""The omega of the images that a classifier is given."""
OMEGAS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Guidance scales that every score is searched over: fine enough that the best one is not decided
by where they lie."""
RATIOS_PER_TRAINING = 64
"""Steps of a training at which the gradient ratio is measured."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A method: a preset, and what differs from it."""

    name: str
    """Short, for tables and figures; the same in all settings."""
    preset: str = "ddpm"
    values: Values = field(default_factory=dict)
    classifiers: Sequence[TrainingSet] = ()
    """What classifiers are trained on when a training has ended, as in Table 3."""
    omegas: Sequence[float] = ()
    """Guidance scales beyond the setting's, where the best one lies there."""

    @property
    def key(self) -> str:
        """The text that tells its settings from those of others, whatever its name is."""
        content = {"preset": self.preset, **self.values, "classifiers": list(self.classifiers)}
        more = {"omegas": list(self.omegas)} if self.omegas else {}
        return json.dumps(content | more, sort_keys=True)

    @classmethod
    def of_key(cls, key: str) -> "Arm":
        """Return the arm of such a text, without its name."""
        values = json.loads(key)
        preset, classifiers = values.pop("preset"), tuple(values.pop("classifiers"))
        omegas = tuple(values.pop("omegas", ()))
        return cls(name="", preset=preset, values=values, classifiers=classifiers, omegas=omegas)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Data, network, length and number of samples: what trainings have to share to compare."""

    name: str
    """Also of its table, `data/NAME.csv`."""
    words: str
    """For a caption."""
    brief: str = ""
    """What tells it from the main one, for a row of a figure."""
    dataset: str
    base: Values
    """What differs from the dataset's recipe."""
    rungs: Sequence[int]
    """Images seen at which a training is scored; the last is its length."""
    rung_samples: int
    """Samples at the rungs before the last."""
    num_samples: int = 1_000
    counts: Sequence[int] = ()
    """Smaller numbers of samples whose scores are kept too, to show how FID depends on N."""
    omegas: Sequence[float] = OMEGAS

    def omegas_of(self, arm: Arm) -> list[float]:
        """Return the guidance scales that an arm is scored at."""
        return sorted({*self.omegas, *arm.omegas})

    def experiment(self, arm: Arm, seed: int) -> ExperimentConfig:
        """Return the configuration of one training.

        A seed means other draws of the training and other noise of the samples.
        """
        length = max(self.rungs)
        found = recipe(self.dataset).for_images(length).experiment.with_values(self.base)
        steps = length // found.training.batch_size
        return apply_preset(arm.preset, found).with_values(
            {
                "training.num_images": length,
                "training.grad_ratio_every_steps": max(1, steps // RATIOS_PER_TRAINING),
                **arm.values,
                "training.seed": seed,
                "evaluation.seed": 12_345 + seed,
            }
        )

    def digest(self, arm: Arm) -> str:
        """Return what tells how an arm is trained and scored here, but for seed and classifiers.

        Trainings of another recipe, length or way to score do not compare, and are not counted.
        """
        content = [
            self.experiment(arm, seed=0).to_dict(),
            [list(each) for each in (self.rungs, self.counts, self.omegas_of(arm))],
            [self.rung_samples, self.num_samples],
        ]
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
