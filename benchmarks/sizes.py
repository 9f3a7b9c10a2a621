"""How large the benchmarks of speed are: the paper's sizes on a GPU, small ones elsewhere."""

import dataclasses
from dataclasses import dataclass

from benchmarks.aims import STAND_IN
from benchmarks.gpu import gpu
from diffrop.config import ModelConfig, Precision


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large a benchmark's work is, and how often it is done."""

    model: ModelConfig
    small_model: ModelConfig
    """For checks whose result does not depend on the network's size."""
    image_size: int
    batch_size: int
    larger_batches: tuple[int, ...]
    """Beside `batch_size`, for what a loss adds."""
    sampling_batch_size: int
    precision: Precision
    """Of trainings by default."""
    matrix: int
    """Rows of the matrices whose product is the ceiling."""
    warm_up_steps: int
    calls: int
    rounds: int
    training_s: float
    """Of each trial where two share a device."""
    study_images: int
    """Seen by a trial of the whole study."""
    study_samples: int
    study_budget_s: int
    """No trial of the study begins after so long."""
    agreement_steps: int
    """Of each training whose end is compared with plain PyTorch's."""


TWO_LEVELS = ModelConfig(base_channels=16, channel_multipliers=(1, 2), num_res_blocks=1)
ONE_LEVEL = dataclasses.replace(
    TWO_LEVELS, base_channels=8, channel_multipliers=(1,), attention_resolutions=()
)
PAPER = Sizes(
    model=ModelConfig(),
    small_model=TWO_LEVELS,
    image_size=32,
    batch_size=128,
    larger_batches=(512, 1024),
    sampling_batch_size=512,
    precision="bf16",
    matrix=8192,
    warm_up_steps=8,
    calls=30,
    rounds=5,
    training_s=10,
    study_images=800_000,
    study_samples=5000,
    study_budget_s=100,
    agreement_steps=2000,
)
SMALL = Sizes(
    model=TWO_LEVELS,
    small_model=ONE_LEVEL,
    image_size=16,
    batch_size=16,
    larger_batches=(),
    sampling_batch_size=16,
    precision="fp32",
    matrix=256,
    warm_up_steps=1,
    calls=2,
    rounds=3,
    training_s=3,
    study_images=256,
    study_samples=100,
    study_budget_s=60,
    agreement_steps=2000,
)
STOOD_IN = dataclasses.replace(
    SMALL,
    model=ONE_LEVEL,
    image_size=8,
    precision="bf16",
    warm_up_steps=6,  # beyond the recordings
    training_s=0.5,
    agreement_steps=20,
)


def sizes() -> Sizes:
    """Return the paper's sizes on a GPU, small ones elsewhere."""
    chip = gpu()
    if chip is None:
        return SMALL
    return STOOD_IN if chip.name == STAND_IN else PAPER
