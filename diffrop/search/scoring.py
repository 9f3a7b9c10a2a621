"""Scoring a checkpoint: samples at every omega of a grid, and the per-shot report of each."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from diffrop import distributed
from diffrop.config import EvaluationConfig, ExperimentConfig, Metric, SamplingConfig
from diffrop.data import Dataset
from diffrop.diffusion.sampling import sample, to_uint8
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.errors import OutOfMemoryError
from diffrop.metrics.features import Extraction, FeatureExtractor
from diffrop.metrics.reference import Reference
from diffrop.metrics.report import Protocol, balanced_labels, evaluate
from diffrop.seeds import SAMPLES, generator

FID_ALONE: tuple[Metric, ...] = ("fid",)


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
    reference: str
    """Which real images the samples are compared with."""
    num_samples: dict[str, int]
    num_reference: dict[str, int]
    final: bool
    curve: list[dict[str, Any]]
    """Per omega of the grid: {"omega": ..., "scores": {...}}, on the same noise and labels. FID
    and accuracy; at the best omega of the final score, all metrics."""
    intervals: dict[str, dict[str, Any]]
    """At the best omega of the final score: 95 % intervals over samples (`Interval`), by score."""
    class_scores: dict[str, float]
    """The same, by `metric/class_LABEL`."""

    @property
    def scores(self) -> dict[str, float]:
        """All scores at the best omega."""
        return next(dict(row["scores"]) for row in self.curve if row["omega"] == self.omega)

    @property
    def protocol(self) -> Protocol:
        """What the scores depend on beside the model."""
        return Protocol(self.extractor, self.sampler, self.reference, self.num_samples["all"])

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


@dataclass(frozen=True)
class Scored:
    """A checkpoint's scores with what is kept beside them."""

    card: ScoreCard
    images: Tensor
    """The first samples at the best omega, uint8, ten of each class at most, in the order 0, 1,
    ..., C-1, 0, 1, ..."""
    influence: dict[str, Tensor]
    """Of the final score: each sample's influence on `metric/GROUP`, float32, and the samples'
    labels by `labels/GROUP`, for paired differences."""


def score_model(
    model: nn.Module,
    schedule: NoiseSchedule,
    config: ExperimentConfig,
    inputs: ScoringInputs,
    num_samples: int,
    images_seen: int,
    final: bool,
) -> Scored:
    """Score a model at every omega of the grid by FID; every worker returns the same.

    The final score has all of `evaluation.metrics`, with intervals, at the best omega.

    Raises:
        NonFiniteError: a score is NaN or infinite.
    """
    evaluation, dataset = config.evaluation, inputs.dataset
    labels = balanced_labels(num_samples, dataset.num_classes)
    sampler = sampler_name(config)
    score = partial(evaluate, labels=labels, reference=inputs.reference, sampler=sampler)
    curve: list[dict[str, Any]] = []
    found: list[tuple[Extraction, Tensor]] = []
    for omega in evaluation.guidance_scales:
        images = draw_samples(
            model, schedule, config.sampling, dataset.image_shape, labels, omega,
            dataset.num_classes, evaluation.seed,
        )  # fmt: skip
        extraction = inputs.extractor.extract(images)
        report = score(extraction, metrics=FID_ALONE, details=False)
        curve.append({"omega": omega, "scores": dict(report.scores)})
        found.append((extraction, images[: 10 * dataset.num_classes].cpu()))
    best = best_row(curve, evaluation)
    extraction, shown = found[best]
    if final:
        report = score(extraction, metrics=evaluation.metrics)
        curve[best]["scores"] = dict(report.scores)
    card = ScoreCard(
        images_seen=images_seen,
        time=time.time(),
        objective=evaluation.objective,
        value=curve[best]["scores"][evaluation.objective],
        omega=curve[best]["omega"],
        sampler=report.protocol.sampler,
        extractor=report.protocol.extractor,
        reference=report.protocol.reference,
        num_samples=dict(report.num_samples),
        num_reference=dict(report.num_reference),
        final=final,
        curve=curve,
        intervals={name: interval.to_dict() for name, interval in report.intervals.items()},
        class_scores=dict(report.class_scores),
    )
    influence = {name: psi.float() for name, psi in report.influence.items()}
    if influence:
        influence |= {f"labels/{name}": of.contiguous() for name, of in report.labels.items()}
    return Scored(card, shown, influence)


def scored_alike(
    card: ScoreCard, config: ExperimentConfig, inputs: ScoringInputs, num_samples: int
) -> bool:
    """Whether a stored score is what scoring now would give: same protocol and omegas."""
    asked = Protocol(
        inputs.extractor.name, sampler_name(config), inputs.reference.name, num_samples
    )
    omegas = tuple(row["omega"] for row in card.curve)
    return card.protocol == asked and omegas == config.evaluation.guidance_scales


def check_scorable(
    evaluation: EvaluationConfig, dataset: Dataset, num_samples: Sequence[int]
) -> None:
    """Raise ValueError unless the objective's group exists and gets two samples or more.

    Args:
        evaluation: the objective.
        dataset: its classes and shot groups.
        num_samples: each N at which something is scored.
    """
    groups = {"all": list(range(dataset.num_classes)), **dataset.shot_groups}
    if evaluation.objective.removeprefix("fid/") not in groups:
        known = ", ".join(f"fid/{name}" for name in groups)
        raise ValueError(
            f"objective is {evaluation.objective}, and {dataset.num_classes} class(es) have no "
            f"such shot group; allowed: {known}"
        )
    least = 2 * dataset.num_classes
    if min(num_samples) < least:
        raise ValueError(
            f"{min(num_samples)} samples are too few for a FID per shot group; allowed: at least "
            f"{least}, two of each class"
        )


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
