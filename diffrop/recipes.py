"""Whole configurations: what an experiment and a study of each dataset start from."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from diffrop.config import (
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    ModelConfig,
    SamplingConfig,
    TrainingConfig,
)

SCALED = ("warmup_images", "log_every_images", "grad_ratio_every_steps")
"""What shrinks with a training that is shorter than its recipe's, beside the first rung."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An experiment, and the budget of a study of it."""

    experiment: ExperimentConfig
    num_trials: int
    first_rung_images: int
    rung_samples: int
    """Images per omega at the rungs before the last."""
    confirm: int = 0
    """Leaders that a study confirms unless told otherwise; 0 where a training takes long."""
    confirm_seeds: int = 3
    """Fresh seeds of a confirmation."""

    def for_images(self, num_images: int) -> "Recipe":
        """Return the recipe for a training of so many images.

        In a shorter one than its own, warm-up, logging and the first rung keep their share of the
        training; a longer one leaves them as they are.
        """
        training = self.experiment.training
        share = num_images / training.num_images
        if share >= 1:
            return self
        shorter = {name: max(1, round(share * getattr(training, name))) for name in SCALED}
        training = dataclasses.replace(training, num_images=num_images, **shorter)
        return dataclasses.replace(
            self,
            experiment=dataclasses.replace(self.experiment, training=training),
            first_rung_images=max(1, round(share * self.first_rung_images)),
        )


def digits() -> Recipe:
    """Four trials, and four fresh seeds of the best, in five minutes on two cores."""
    return Recipe(
        experiment=ExperimentConfig(
            data=DataConfig(dataset="digits", imbalance_factor=0.1),
            model=ModelConfig(
                base_channels=16,
                channel_multipliers=(1, 2),
                num_res_blocks=1,
                attention_resolutions=(4,),
                dropout=0.0,
            ),
            training=TrainingConfig(
                num_images=20_480,
                batch_size=64,
                learning_rate=1e-3,
                warmup_images=2_560,
                log_every_images=2_560,
                grad_ratio_every_steps=20,
                checkpoint_every_images=10_240,
            ),
            sampling=SamplingConfig(sampler="dpmpp", num_steps=5),
            evaluation=EvaluationConfig(extractor="classifier", num_samples=1_000),
        ),
        num_trials=4,
        first_rung_images=10_240,
        rung_samples=200,
        confirm=1,
        confirm_seeds=4,
    )


def rgb32(dataset: str) -> Recipe:
    """The paper's network and optimisation on 32x32 images, at a study's budget.

    The paper trains for 300,000 steps of 64; a trial here sees 3.2 million images.
    """
    return Recipe(
        experiment=ExperimentConfig(
            data=DataConfig(dataset=dataset, imbalance_factor=0.01, horizontal_flip=True),
            training=TrainingConfig(
                num_images=3_200_000, batch_size=128, warmup_images=128_000, precision="bf16"
            ),
            sampling=SamplingConfig(sampler="ddim", num_steps=50),
            evaluation=EvaluationConfig(num_samples=10_000),
        ),
        num_trials=32,
        first_rung_images=800_000,
        rung_samples=5_000,
    )


def fashion_mnist() -> Recipe:
    """Grey 28x28 images: the paper's network a quarter as wide, scored on a classifier."""
    return Recipe(
        experiment=ExperimentConfig(
            data=DataConfig(dataset="fashion_mnist", imbalance_factor=0.01, horizontal_flip=True),
            model=ModelConfig(
                base_channels=32, channel_multipliers=(1, 2, 2), attention_resolutions=(14,)
            ),
            training=TrainingConfig(
                num_images=1_600_000, batch_size=128, warmup_images=64_000, precision="bf16"
            ),
            evaluation=EvaluationConfig(extractor="classifier", num_samples=10_000),
        ),
        num_trials=32,
        first_rung_images=400_000,
        rung_samples=5_000,
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "digits": digits,
    "cifar10": partial(rgb32, "cifar10"),
    "cifar100": partial(rgb32, "cifar100"),
    "fashion_mnist": fashion_mnist,
    "image_folder": partial(rgb32, "image_folder"),
}
"""The recipe of each dataset of `diffrop.data.DATASETS`, in that order. A command line takes the
names from here, because loaders need torch and recipes do not."""


def recipe(dataset: str) -> Recipe:
    """Return the recipe of a dataset.

    Raises:
        ValueError: there is none of that name.
    """
    if dataset not in RECIPES:
        raise ValueError(
            f"dataset is {dataset!r}; allowed: {', '.join(RECIPES)}. A recipe is added in "
            "diffrop/recipes.py, to RECIPES (docs/extend.md shows how)"
        )
    return RECIPES[dataset]()
