"""Scoring a checkpoint: samples at every omega of a grid, and the per-shot report of each."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from diffrop import distributed
from diffrop.config import EvaluationConfig, ExperimentConfig, SamplingConfig
from diffrop.data import Dataset
from diffrop.diffusion.sampling import sample, to_uint8
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.errors import OutOfMemoryError
from diffrop.metrics.features import FeatureExtractor
from diffrop.metrics.report import Reference, balanced_labels, shot_report
from diffrop.seeds import SAMPLES, generator


@dataclass(frozen=True)
class ScoringInputs:
    """What scoring needs beside the model; made once by the driver, shared by all trials."""

    dataset: Dataset
    extractor: FeatureExtractor
    reference: Reference


@dataclass(frozen=True)
class ScoreCard:
    """The scores of one checkpoint over the grid of omega."""

    images_seen: int
    time: float
    objective: str
    value: float
    """The objective at `omega`."""
    omega: float
    """Where the objective is least; it serves every score of the checkpoint."""
    sampler: str
    extractor: str
    num_samples: dict[str, int]
    final: bool
    curve: list[dict[str, Any]]
    """Per omega of the grid: {"omega": ..., "scores": {...}}, on the same noise and labels."""

    @property
    def scores(self) -> dict[str, float]:
        """All scores at the best omega."""
        return next(dict(row["scores"]) for row in self.curve if row["omega"] == self.omega)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as stored in the trial's folder."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ScoreCard":
        """Build from `to_dict`'s result."""
        return cls(**values)


def sampler_name(config: ExperimentConfig) -> str:
    """Return sampler, steps and average as they stand beside every score, such as ddim-10."""
    sampling = config.sampling
    steps = sampling.num_steps
    if sampling.sampler == "ancestral":
        steps = config.diffusion.num_timesteps
    length = sampling.ema_length
    return f"{sampling.sampler}-{steps}{'' if length is None else f'-ema-{length:g}'}"


def draw_samples(
    model: nn.Module,
    schedule: NoiseSchedule,
    config: SamplingConfig,
    image_shape: tuple[int, int, int],
    labels: Tensor,
    omega: float,
    null_label: int,
    seed: int,
) -> Tensor:
    """Draw uint8 images (N, C, H, W) for labels (N,), on the model's device.

    The noise of each chunk of `config.batch_size` has its own seed: it does not depend on the
    model, on omega or on the number of workers, which share the chunks among them.

    Raises:
        OutOfMemoryError: naming the batch size to lower.
    """
    device = schedule.beta.device
    images = torch.zeros(len(labels), *image_shape, dtype=torch.uint8, device=device)
    for chunk, start in enumerate(range(0, len(labels), config.batch_size)):
        if chunk % distributed.world_size() != distributed.rank():
            continue
        part = labels[start : start + config.batch_size].to(device)
        rng = generator(device, seed, SAMPLES, chunk)
        try:
            drawn = sample(model, schedule, config, image_shape, part, omega, null_label, rng)
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"out of memory while sampling {len(part)} images at a time; lower "
                "sampling.batch_size"
            ) from error
        images[start : start + config.batch_size] = to_uint8(drawn)
    if distributed.world_size() > 1:
        dist.all_reduce(images)
    return images


def score_model(
    model: nn.Module,
    schedule: NoiseSchedule,
    config: ExperimentConfig,
    inputs: ScoringInputs,
    num_samples: int,
    images_seen: int,
    final: bool,
) -> tuple[ScoreCard, Tensor]:
    """Score a model at every omega of the grid; every worker returns the same.

    Returns:
        The scores, and the first samples at the best omega, uint8, ten of each class at most,
        in the order 0, 1, ..., C-1, 0, 1, ...

    Raises:
        NonFiniteError: a score is NaN or infinite.
    """
    evaluation, dataset = config.evaluation, inputs.dataset
    labels = balanced_labels(num_samples, dataset.num_classes)
    curve: list[dict[str, Any]] = []
    shown: list[Tensor] = []
    counts: dict[str, int] = {}
    for omega in evaluation.guidance_scales:
        images = draw_samples(
            model, schedule, config.sampling, dataset.image_shape, labels, omega,
            dataset.num_classes, evaluation.seed,
        )  # fmt: skip
        features = inputs.extractor.features(images)
        predictions = inputs.extractor.predictions(features)
        report = shot_report(features, labels, inputs.reference, predictions)
        curve.append({"omega": omega, "scores": dict(report.scores)})
        counts = dict(report.num_samples)
        shown.append(images[: 10 * dataset.num_classes].cpu())
    best = best_row(curve, evaluation)
    card = ScoreCard(
        images_seen=images_seen,
        time=time.time(),
        objective=evaluation.objective,
        value=curve[best]["scores"][evaluation.objective],
        omega=curve[best]["omega"],
        sampler=sampler_name(config),
        extractor=inputs.extractor.name,
        num_samples=counts,
        final=final,
        curve=curve,
    )
    return card, shown[best]


def best_row(curve: Sequence[dict[str, Any]], evaluation: EvaluationConfig) -> int:
    """Return the position of the omega with the least objective; the smaller omega of equals.

    Raises:
        ValueError: the objective's group has no classes or too few samples to be scored.
    """
    if evaluation.objective not in curve[0]["scores"]:
        known = ", ".join(name for name in curve[0]["scores"] if name.startswith("fid/"))
        raise ValueError(
            f"objective is {evaluation.objective}, which this dataset and N do not have; "
            f"allowed: {known}"
        )
    return min(
        range(len(curve)),
        key=lambda i: (curve[i]["scores"][evaluation.objective], curve[i]["omega"]),
    )
