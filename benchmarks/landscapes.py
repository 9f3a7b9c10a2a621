"""The landscapes on which searches are compared: each a declaration, and the trials that fill it.

A landscape is a search space on one recipe, known by real trainings. `make_landscapes.py` trains
them, `landscape_table.py` keeps them, and `surrogate.py` models what they say.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import qmc

from diffrop.config import ExperimentConfig, Objective
from diffrop.recipes import digits
from diffrop.schema import flatten
from diffrop.study.space import Parameter, SearchSpace

HERE = Path(__file__).parent
SEARCH_SPACES = HERE.parent / "search_spaces"
SEEDS = (0, 1, 2)
START_KEY = "contrastive.start_images"
"""Images seen at which a point's training forks from the baseline's."""
BLOCK = 8
"""Points of a block of the initial design; the first two of each are trained with every seed."""
SAME_DRAWS = (
    "contrastive.",
    "objective.",
    "training.learning_rate",
    "training.warmup_images",
    "training.gradient_clip_norm",
    "training.ema_",
)
"""Keys that leave the draws of a training alone: initial weights, order of images, timesteps,
noise and dropped labels. Trainings that differ in them only are paired by their seed."""
SIGNIFICANT_DIGITS = 4
RUINED = 1.5
"""A training whose final objective is this many times the baseline's is ruined."""
Values = Mapping[str, Any]
"""Settings by dotted key; none at all is the baseline."""
SAMPLED: Values = {"sampling.sampler": "ddim", "sampling.num_steps": 8}
"""How the samples of all tables are drawn, whatever the recipe's sampler is."""


@dataclass(frozen=True)
class Trial:
    """One training: a point and a seed."""

    values: Values
    seed: int

    @cached_property
    def key(self) -> tuple[str, int]:
        """What tells it from others."""
        return point_key(self.values), self.seed


def point_key(values: Values) -> str:
    """Return the text that two equal points share."""
    return json.dumps(dict(values), sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """What is searched, on what, and how it is filled."""

    name: str
    """Also of its table, `data/NAME.jsonl`."""
    space: Path
    objective: Objective
    rungs: Mapping[int, int]
    """Images seen, and how many samples are drawn there for each omega."""
    base: Values = field(default_factory=dict)
    """What differs from the digits recipe."""
    num_initial: int = 32
    """Points of the space-filling design; later ones are chosen by the model."""
    omegas: tuple[float, ...] = (0.0, 1.0, 2.0)
    reserved: bool = False
    """Whether it is kept for the final table: filled and searched only when it is named."""

    @cached_property
    def search_space(self) -> SearchSpace:
        """The space, as a study reads it."""
        return SearchSpace.load(self.space)

    @cached_property
    def baseline(self) -> ExperimentConfig:
        """The configuration of the baseline: the recipe without a contrastive loss."""
        experiment = digits().for_images(max(self.rungs)).experiment
        quiet = {
            "contrastive.form": "none",
            "training.grad_ratio_every_steps": experiment.training.num_images,
            "evaluation.objectives": [self.objective],
        }
        return experiment.with_values({**quiet, **SAMPLED, **self.base})

    @cached_property
    def _baseline_settings(self) -> dict[str, Any]:
        return flatten(self.baseline.to_dict())

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield the points of a scrambled Sobol sequence over the space, without end."""
        return sobol_points(self.search_space, seed=0)

    def paired_baseline(self, values: Values) -> dict[str, Any]:
        """Return the baseline at the draws of a point: what changes the draws, and nothing else.

        It is the baseline itself where a point changes none. What equals the baseline's own
        setting is left out, so that equal trainings have equal points.
        """
        own = self._baseline_settings
        return {
            key: value
            for key, value in values.items()
            if not key.startswith(SAME_DRAWS) and own[key] != value
        }

    def design(self) -> Iterator[Trial]:
        """Yield the trials of the initial design, in blocks that are useful without the next.

        The baseline comes first, with every seed. In a block every point has one seed, these in
        turn; then two have the other seeds, and so has the baseline at their draws: they show
        the spread of one training, and of the difference of two that share their draws.
        """
        yield from (Trial({}, seed) for seed in SEEDS)
        points = self.points()
        for start in range(0, self.num_initial, BLOCK):
            block = list(itertools.islice(points, BLOCK))
            own = [SEEDS[(start + i) % len(SEEDS)] for i in range(BLOCK)]
            yield from (Trial(values, seed) for values, seed in zip(block, own, strict=True))
            for values in block[:2]:
                yield from (Trial(values, seed) for seed in SEEDS)
                yield from (Trial(self.paired_baseline(values), seed) for seed in SEEDS)


def sobol_points(space: SearchSpace, seed: int) -> Iterator[dict[str, Any]]:
    """Yield points of a space, spread evenly on the scale of each parameter, without end."""
    sequence = qmc.Sobol(len(space.parameters), rng=np.random.default_rng(seed))
    while True:
        for row in sequence.random(64):
            values: dict[str, Any] = {}
            for parameter, share in zip(space.parameters, row, strict=True):
                if parameter.asked(values):
                    values[parameter.name] = value_at(parameter, float(share))
            yield values


def value_at(parameter: Parameter, share: float) -> Any:
    """Return the value at a share in [0, 1) of a parameter's range, or of its choices."""
    if parameter.choices is not None:
        return parameter.choices[int(share * len(parameter.choices))]
    value = parameter.at_share(share)
    return value if parameter.integer else float(f"{value:.{SIGNIFICANT_DIGITS}g}")


LANDSCAPES = {
    landscape.name: landscape
    for landscape in (
        Landscape(
            name="digits_tau",
            space=SEARCH_SPACES / "tau.yaml",
            objective="fid/all",
            rungs={5_120: 125, 10_240: 125, 20_480: 500},
            omegas=(0.0, 0.5, 1.0, 2.0),
        ),
        Landscape(
            name="digits_ablation",
            space=SEARCH_SPACES / "ablation.yaml",
            objective="fid/few",
            rungs={5_120: 125, 10_240: 125, 20_480: 500},
            base={"data.imbalance_factor": 0.05},
            num_initial=48,
        ),
        Landscape(
            name="digits_training",
            space=HERE / "spaces" / "training.yaml",
            objective="fid/all",
            rungs={3_840: 125, 7_680: 125, 15_360: 500},
        ),
        Landscape(
            name="digits_reserved",
            space=HERE / "spaces" / "reserved.yaml",
            objective="fid/all",
            rungs={3_840: 125, 7_680: 125, 15_360: 500},
            base={"data.imbalance_factor": 0.02, "data.class_sampling": "sqrt"},
            reserved=True,
        ),
    )
}
"""By name, in the order in which they are filled in turn."""
