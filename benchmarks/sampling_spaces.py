"""The candidates among which `sampling_search.py` compares methods, and samples of each.

They are Gaussians, whose expected FID at the full N is known (curves over omega, and a space of
four dimensions), and ways to sample a checkpoint. Of these, samples are drawn once, by the
engine's samplers; every repeat parts them at random into those that methods see and fresh ones.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from diffrop.checkpoint_file import write_checkpoint
from diffrop.config import EvaluationConfig
from diffrop.data import load_dataset
from diffrop.engine.guidance_sweep import (
    SweptCheckpoint,
    ranked_trials,
    ready_to_sample,
    study_checkpoints,
)
from diffrop.metrics.fid_carried import expected_overlap
from diffrop.metrics.frechet import GaussianStatistics, frechet_distance
from diffrop.metrics.report import balanced_labels
from diffrop.recipes import recipe
from diffrop.scoring.samples import ScoringInputs, draw_samples
from diffrop.study.sampling_choice import SamplingChoice, sampling_choices
from diffrop.training.trainer import Trainer

DIM, INCEPTION_DIM = 512, 2_048
"""Features of the Gaussians: more than the samples of early rounds; as many as InceptionV3's, more
than the full N."""
GAUSSIAN_NUM_SAMPLES = 1_000
STEEPNESS: Mapping[str, float] = {"even": 0.5, "tail": 0.5, "uneven": 1.0}
"""With which the reference's variances fall, by the shape of a curve over omega."""
COMMON = 0.9
"""Share of the variance of the noise that the Gaussians of a space have in common."""
GAUSSIAN_CLASSES = 10
SPACE: Mapping[str, Any] = {
    "evaluation.samplers": ["ddim-5", "dpmpp-5", "heun-3"],
    "evaluation.guidance_scales": [0.0, 0.5, 1.0, 2.0],
    "evaluation.guidance_intervals": [[0.0, 1.0], [0.0, 0.5], [0.2, 0.7]],
    "evaluation.ema_lengths": [None, 0.05, 0.15],
    "training.ema_lengths": [0.05, 0.15],
}
"""Three samplers of five evaluations, four omegas, three intervals and three averages."""
FIRST_NOISE = EvaluationConfig().seed
"""Seed of the noise from which the checkpoint of training seed 0 is sampled; others add theirs."""
MODEL: Mapping[str, Any] = {"contrastive.form": "none", "model.base_channels": 8}
"""What is trained on digits, beside the recipe: half as wide, for many samples are drawn."""


class Space(Protocol):
    """Candidates, and samples of each."""

    @property
    def name(self) -> str:
        """For the table."""

    @property
    def choices(self) -> Sequence[SamplingChoice]:
        """The candidates."""

    @property
    def reference(self) -> GaussianStatistics:
        """What FIDs compare with."""

    @property
    def labels(self) -> Tensor:
        """Of the full N samples."""

    @property
    def num_classes(self) -> int:
        """Numbers of samples are multiples of it."""

    def features(self, choice: SamplingChoice, repeat: int) -> Tensor:
        """Return the features of the full N samples (N, D) of one noise."""

    def value(self, choice: SamplingChoice, repeat: int) -> float:
        """Return the FID at the full N on other noise."""


@dataclass(frozen=True)
class Gaussians:
    """A space whose candidates' features are independent Gaussians."""

    name: str
    choices: Sequence[SamplingChoice]
    real: Tensor
    """Standard deviations of the reference (D,)."""
    of: Callable[[SamplingChoice], tuple[Tensor, Tensor]]
    """Mean and standard deviations (D,) of a candidate."""

    @functools.cached_property
    def reference(self) -> GaussianStatistics:
        """The exact fit."""
        return GaussianStatistics(torch.zeros_like(self.real), torch.diag(self.real), 10**9)

    @property
    def labels(self) -> Tensor:
        """One class, as no feature depends on it."""
        return torch.zeros(GAUSSIAN_NUM_SAMPLES, dtype=torch.int64)

    @property
    def num_classes(self) -> int:
        """As of digits, for rounds of the same sizes."""
        return GAUSSIAN_CLASSES

    def features(self, choice: SamplingChoice, repeat: int) -> Tensor:
        """Return samples of the noise of a repeat, a part of it the candidate's own."""
        own = 1 + self.choices.index(choice)
        noise, more = (
            np.random.default_rng([repeat, stream]).standard_normal(
                (GAUSSIAN_NUM_SAMPLES, len(self.real))
            )
            for stream in (0, own)
        )
        mean, std = self.of(choice)
        mixed = torch.from_numpy(COMMON**0.5 * noise + (1 - COMMON) ** 0.5 * more)
        return mean + std * mixed

    def value(self, choice: SamplingChoice, repeat: int) -> float:
        """Return the expected FID at the full N, exactly but for a few tenths of a per cent."""
        mean, std = self.of(choice)
        count = GAUSSIAN_NUM_SAMPLES
        shared = expected_overlap((std * self.real).square().numpy(), count)
        traces = (1 + 1 / count) * std.square().sum() + self.real.square().sum()
        return float(mean.square().sum() + traces) - 2 * shared


@dataclass(frozen=True)
class Drawn:
    """The candidates of a checkpoint, with several times the full N samples drawn of each."""

    name: str
    choices: Sequence[SamplingChoice]
    reference: GaussianStatistics
    labels: Tensor
    """Of the full N."""
    drawn: Mapping[SamplingChoice, Tensor]
    """Features (P N, D), their labels 0, 1, ..., C-1, 0, 1, ..."""

    @property
    def num_classes(self) -> int:
        """Of the dataset."""
        return int(self.labels.max()) + 1

    def features(self, choice: SamplingChoice, repeat: int) -> Tensor:
        """Return the first part of a random partition."""
        return self._parts(choice, repeat)[0]

    def value(self, choice: SamplingChoice, repeat: int) -> float:
        """Return the mean FID of the other parts, each of the full N."""
        parts = self._parts(choice, repeat)[1:]
        return float(np.mean([frechet_distance(part, self.reference) for part in parts]))

    def _parts(self, choice: SamplingChoice, repeat: int) -> Sequence[Tensor]:
        features, count = self.drawn[choice], len(self.labels)
        num_classes = self.num_classes
        each = len(features) // num_classes
        rng = np.random.default_rng(repeat)
        # Which of its class's samples, by place and class: the same for every candidate.
        order = np.stack([rng.permutation(each) for _ in range(num_classes)], axis=1)
        rows = (order * num_classes + np.arange(num_classes)).ravel()
        return features[torch.from_numpy(rows)].split(count)[: len(features) // count]


def omega_curve(shape: str, dim: int) -> Gaussians:
    """Return candidates over omega, which moves the mean and narrows the spread.

    Args:
        shape: how it narrows it, of `STEEPNESS`.
        dim: D, the number of features.
    """
    config = recipe("digits").experiment
    place = torch.arange(dim, dtype=torch.float64)
    variances = (1 + place) ** -STEEPNESS[shape]
    real = (100 * variances / variances.sum()).sqrt()
    share = place / dim

    def of(choice: SamplingChoice) -> tuple[Tensor, Tensor]:
        omega = choice.omega
        mean = torch.zeros(dim, dtype=torch.float64)
        mean[0] = 3 * np.exp(-omega) + 0.3 * omega
        widths = {
            "even": 1.05 - 0.15 * omega + 0 * share,
            "tail": 1.05 - 0.3 * omega * share,
            "uneven": (1.1 - 0.2 * omega) ** 0.5 * (1 + 0.15 * (9 * share).sin()),
        }
        return mean, real * widths[shape]

    return Gaussians(f"{shape}, D = {dim:,}", sampling_choices(config), real, of)


def gaussian_space() -> Gaussians:
    """Return candidates of four dimensions, in which the interval bounds what omega does."""
    config = recipe("digits").experiment.with_values(SPACE)
    share = torch.arange(DIM, dtype=torch.float64) / DIM
    variances = (1 + DIM * share) ** -0.7
    real = (100 * variances / variances.sum()).sqrt()
    far = {"ddim": 1.5, "dpmpp": 0.6, "heun": 1.0}
    wide = {"ddim": 0.97, "dpmpp": 1.0, "heun": 1.04}

    def of(choice: SamplingChoice) -> tuple[Tensor, Tensor]:
        sampling = choice.sampling
        low, high = sampling.guidance_interval
        guided = choice.omega * (high - low) ** 0.5
        mean = torch.zeros(DIM, dtype=torch.float64)
        mean[0] = 3 * np.exp(-guided)
        mean[1] = far[sampling.sampler]
        mean[2] = {None: 0.9, 0.05: 0.5, 0.15: 0.7}[sampling.ema_length]
        mean[3] = 0.8 * choice.omega * (high - low) * (1.3 if low == 0 else 0.9)
        std = real * wide[sampling.sampler] * (1.05 - 0.12 * guided * (0.5 + share))
        return mean, std

    return Gaussians("Gaussians", sampling_choices(config), real, of)


MADE: Mapping[str, Callable[[], Space]] = {
    **{shape: functools.partial(omega_curve, shape, DIM) for shape in STEEPNESS},
    **{
        f"{shape}-{INCEPTION_DIM}": functools.partial(omega_curve, shape, INCEPTION_DIM)
        for shape in STEEPNESS
    },
    "gaussians": gaussian_space,
}
"""The spaces that need no checkpoint, by name: curves over omega, and one of four dimensions. All
methods on a noise take 6 s of one core with 2,048 features, 2 min for 20 of them, and 1.1 GiB."""


def trained_checkpoint(folder: Path, device: torch.device, seed: int) -> Path:
    """Train a small model on digits, with the averages of `SPACE`; return its file."""
    config = recipe("digits").experiment.with_values(
        {
            **MODEL,
            "training.ema_lengths": SPACE["training.ema_lengths"],
            "training.seed": seed,
            "evaluation.seed": FIRST_NOISE + seed,
        }
    )
    path = folder / f"digits_{seed}.safetensors"
    if not path.exists():
        trainer = Trainer(config, load_dataset(config.data), device)
        trainer.train_until(config.training.num_images)
        write_checkpoint(path, trainer.checkpoint())
    return path


def drawn_space(
    swept: SweptCheckpoint, inputs: ScoringInputs, num_samples: int, num_parts: int
) -> Drawn:
    """Draw so many times the full N of every candidate of a checkpoint."""
    config, dataset = swept.config, inputs.dataset
    labels = balanced_labels(num_samples * num_parts, dataset.num_classes)
    found = {}
    for choice in swept.choices:
        share = choice.sampling.guide
        images = draw_samples(
            swept.averages[choice.sampling.ema_length],
            swept.schedule,
            choice.sampling,
            dataset.image_shape,
            labels,
            choice.omega,
            dataset.num_classes,
            config.evaluation.seed,
            guide=None if share is None else swept.guides[share],
        )
        found[choice] = inputs.extractor.extract(images).features.double().cpu()
    reference = inputs.reference.statistics["all"]
    return Drawn(swept.label, swept.choices, reference, labels[:num_samples], found)


def checkpoint_spaces(
    study: Path | None,
    folder: Path,
    scratch: Path,
    num_samples: int,
    num_parts: int,
    seed: int = 0,
) -> list[Drawn]:
    """Draw samples of the checkpoints of a study's trials; without a study, of one on digits.

    Args:
        study: its folder.
        folder: keeps the checkpoint on digits.
        scratch: for what is computed once of the reference.
        num_samples: the full N.
        num_parts: how many times the full N is drawn.
        seed: of the training on digits, and of its noise.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if study is not None:
        files, changes = study_checkpoints(study, ranked_trials(study)), {}
    else:
        checkpoint = trained_checkpoint(folder, device, seed)
        files, changes = {f"digits {seed}": checkpoint}, dict(SPACE)
        changes.pop("training.ema_lengths")
    changes["evaluation.num_samples"] = num_samples
    swept, inputs = ready_to_sample(files, changes, scratch, device)
    return [drawn_space(each, inputs, num_samples, num_parts) for each in swept]
