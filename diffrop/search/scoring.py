"""Scoring a checkpoint: the search for its best sampling choice, and the per-shot report."""

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from diffrop import distributed
from diffrop.config import ExperimentConfig, Metric, SamplingConfig
from diffrop.data import Dataset
from diffrop.diffusion.sampling import sample, to_uint8
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.errors import OutOfMemoryError
from diffrop.metrics.features import Extraction, FeatureExtractor
from diffrop.metrics.reference import Reference
from diffrop.metrics.report import ShotReport, balanced_labels, evaluate
from diffrop.schema import plain
from diffrop.search.config import Rung
from diffrop.search.objectives import (
    Baseline,
    Goal,
    Scores,
    check_constraints,
    parse_constraints,
)
from diffrop.search.omega import SamplingChoice, plan_rounds, sampling_choices, search
from diffrop.search.score_card import ScoreCard as ScoreCard
from diffrop.seeds import SAMPLES, generator

FID_ALONE: tuple[Metric, ...] = ("fid",)
SHOWN_PER_CLASS = 10
Averages = Mapping[float | None, nn.Module]
"""The networks to sample from, by relative length of their average; None is the exponential."""


@dataclass(frozen=True)
class ScoringInputs:
    """What scoring needs beside the model; made once by the driver, shared by all trials."""

    dataset: Dataset
    extractor: FeatureExtractor
    reference: Reference


def sampler_name(config: ExperimentConfig) -> str:
    """Return the samplers that a checkpoint may be scored with, such as ddim-10."""
    return ", ".join(dict.fromkeys(choice.sampler for choice in sampling_choices(config)))


def draw_samples(
    model: nn.Module,
    schedule: NoiseSchedule,
    config: SamplingConfig,
    image_shape: tuple[int, int, int],
    labels: Tensor,
    omega: float,
    null_label: int,
    seed: int,
    start: int = 0,
) -> Tensor:
    """Draw uint8 images (N, C, H, W) for labels (N,), on the model's device.

    The noise of each chunk of `config.batch_size` has its own seed: it does not depend on the
    model, on omega, on how many are drawn, or on the workers, which share the images among them.

    Args:
        model: predicts the noise.
        schedule: on the device of the model.
        config: sampler, steps, and images at a time.
        image_shape: (C, H, W).
        labels: (N,), int64.
        omega: guidance scale.
        null_label: label of the unconditional branch.
        seed: of the noise.
        start: place of the first label among all samples of that seed, so that a few can be
            added to those drawn before.

    Raises:
        OutOfMemoryError: naming the batch size to lower.
    """
    device, size = schedule.beta.device, config.batch_size
    images = torch.zeros(len(labels), *image_shape, dtype=torch.uint8, device=device)
    rank, workers = distributed.rank(), distributed.world_size()
    place, end = (start + len(labels) * share // workers for share in (rank, rank + 1))
    while place < end:
        chunk, offset = divmod(place, size)
        own = slice(place - start, min(end, (chunk + 1) * size) - start)
        part = labels[own].to(device)
        rng = generator(device, seed, SAMPLES, chunk)
        try:
            drawn = sample(
                model, schedule, config, image_shape, part, omega, null_label, rng, size, offset
            )
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"out of memory while sampling {len(part)} images at a time; lower "
                "sampling.batch_size"
            ) from error
        images[own] = to_uint8(drawn)
        place += len(part)
    if workers > 1:
        dist.all_reduce(images)
    return images


@dataclass(frozen=True)
class Scored:
    """A checkpoint's scores with what is kept beside them."""

    card: ScoreCard
    images: Tensor
    """The first samples at the choice, uint8, ten of each class at most, in the order 0, 1, ...,
    C-1, 0, 1, ..."""
    influence: dict[str, Tensor]
    """Of the final score: each sample's influence on `metric/GROUP`, float32, and the samples'
    labels by `labels/GROUP`, for paired differences."""


def score_model(
    averages: Averages,
    schedule: NoiseSchedule,
    config: ExperimentConfig,
    inputs: ScoringInputs,
    rung: Rung,
    images_seen: int,
    baseline_scores: Baseline | None = None,
) -> Scored:
    """Choose how to sample from a model, and score it; every worker returns the same.

    The final score has all of `evaluation.metrics`, with intervals, at the choice.

    Args:
        averages: every average of the weights that `evaluation.ema_lengths` names, or that of
            `sampling.ema_length`.
        schedule: on the device of the model.
        config: what is searched, and by which objectives and constraints.
        inputs: dataset, extractor and reference.
        rung: N, and the sampler's steps at most.
        images_seen: by the model.
        baseline_scores: `ScoreCard.scores_by_num_samples` of the baseline at the same rung, for
            constraints that refer to it; None for the baseline itself, or while it is unknown.

    Raises:
        NonFiniteError: a score is NaN or infinite.
    """
    evaluation = config.evaluation
    # Another trial's file, which may have come between two workers' looks.
    baseline_scores = distributed.from_rank_0(baseline_scores, schedule.beta.device)
    choices = sampling_choices(config, rung.num_steps)
    rounds = plan_rounds(
        evaluation.omega_search, len(choices), rung.num_samples, inputs.dataset.num_classes
    )
    constraints = parse_constraints(evaluation.constraints)
    goal = Goal(evaluation.objectives, constraints, rung.num_samples, baseline_scores)
    samples = _Samples(averages, schedule, config, inputs)
    found = search(choices, rounds, goal, samples.scores)
    report = samples.reports[found.best]
    if rung.final:
        report = samples.report(found.best, evaluation.metrics, details=True)
    chosen = (found.best.omega, found.best.sampler, rung.num_samples)
    for row in found.curve:
        if (row["omega"], row["sampler"], row["num_samples"]) == chosen:
            row["scores"] = dict(report.scores)
    card = ScoreCard(
        images_seen=images_seen,
        time=time.time(),
        objectives=list(evaluation.objectives),
        values=[report.scores[name] for name in evaluation.objectives],
        omega=found.best.omega,
        sampler=found.best.sampler,
        extractor=report.protocol.extractor,
        reference=report.protocol.reference,
        num_samples=dict(report.num_samples),
        num_reference=dict(report.num_reference),
        final=rung.final,
        curve=found.curve,
        intervals={name: interval.to_dict() for name, interval in report.intervals.items()},
        class_scores=dict(report.class_scores),
        samples_drawn=samples.num_drawn,
        seconds={name: round(value, 3) for name, value in samples.seconds.items()},
        asked=_asked(config, rung, baseline_scores),
    )
    influence = {name: psi.float() for name, psi in report.influence.items()}
    if influence:
        influence |= {f"labels/{name}": of.contiguous() for name, of in report.labels.items()}
    return Scored(card, samples.first_images(found.best), influence)


def measure(
    averages: Averages,
    schedule: NoiseSchedule,
    config: ExperimentConfig,
    inputs: ScoringInputs,
    choice: SamplingChoice,
    num_samples: int,
) -> ShotReport:
    """Return the FIDs of one sampling choice, with intervals and influence; nothing is searched.

    The noise is that of `evaluation.seed`.
    """
    samples = _Samples(averages, schedule, config, inputs)
    samples.scores([choice], num_samples)
    return samples.report(choice, FID_ALONE, details=True)


class _Samples:
    """What was drawn for each candidate that is still in the race."""

    def __init__(
        self,
        averages: Averages,
        schedule: NoiseSchedule,
        config: ExperimentConfig,
        inputs: ScoringInputs,
    ) -> None:
        self._averages, self._schedule, self._inputs = averages, schedule, inputs
        self._seed = config.evaluation.seed
        self._drawn: dict[SamplingChoice, tuple[Tensor, Extraction]] = {}
        self._count = 0
        self.reports: dict[SamplingChoice, ShotReport] = {}
        """The newest of each candidate: FID alone."""
        self.num_drawn = 0
        self.seconds = dict.fromkeys(("sampling", "features", "metrics"), 0.0)

    def scores(self, choices: Sequence[SamplingChoice], num_samples: int) -> list[Scores]:
        """Return the FIDs of candidates on the first so many samples, equal on every worker."""
        if num_samples > self._count:  # a new round: the others have left
            self._drawn = {c: kept for c, kept in self._drawn.items() if c in choices}
            self._count = num_samples
        return [self._scores(choice) for choice in choices]

    def report(
        self, choice: SamplingChoice, metrics: Collection[Metric], details: bool
    ) -> ShotReport:
        """Return a candidate's report on its samples so far."""
        _, extraction = self._drawn[choice]
        with self._timed("metrics"):
            return evaluate(
                extraction, self._labels(0), self._inputs.reference, sampler=choice.sampler,
                metrics=metrics, details=details,
            )  # fmt: skip

    def first_images(self, choice: SamplingChoice) -> Tensor:
        """Return the first samples of a candidate, ten of each class at most."""
        return self._drawn[choice][0]

    def _scores(self, choice: SamplingChoice) -> Scores:
        self._draw(choice)
        self.reports[choice] = self.report(choice, FID_ALONE, details=False)
        # Workers must not differ in who goes on: then they would wait for each other for ever.
        scores = dict(self.reports[choice].scores)
        shared: Scores = distributed.from_rank_0(scores, self._schedule.beta.device)
        return shared

    def _draw(self, choice: SamplingChoice) -> None:
        """Add samples up to the round's number."""
        known = self._drawn.get(choice)
        start = 0 if known is None else len(known[1].features)
        dataset = self._inputs.dataset
        model = self._averages[choice.sampling.ema_length]
        with self._timed("sampling"):
            images = draw_samples(
                model, self._schedule, choice.sampling, dataset.image_shape, self._labels(start),
                choice.omega, dataset.num_classes, self._seed, start,
            )  # fmt: skip
        with self._timed("features"):
            extraction = self._inputs.extractor.extract(images)
        self.num_drawn += len(images)
        shown = images.cpu()
        if known is not None:
            shown, extraction = torch.cat([known[0], shown]), _joined(known[1], extraction)
        self._drawn[choice] = (shown[: SHOWN_PER_CLASS * dataset.num_classes], extraction)

    def _labels(self, start: int) -> Tensor:
        return balanced_labels(self._count, self._inputs.dataset.num_classes)[start:]

    @contextlib.contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        if self._schedule.beta.is_cuda:
            torch.cuda.synchronize()
        self.seconds[part] += time.perf_counter() - begin


def _joined(first: Extraction, second: Extraction) -> Extraction:
    """Return what an extractor said of the images of both."""

    def both(name: str) -> Any:
        parts = [getattr(first, name), getattr(second, name)]
        return None if parts[0] is None else torch.cat(parts)

    return Extraction(first.extractor, both("features"), both("logits"), both("predictions"))


def scored_alike(
    card: ScoreCard,
    config: ExperimentConfig,
    inputs: ScoringInputs,
    rung: Rung,
    baseline_scores: Baseline | None = None,
) -> bool:
    """Whether a stored score is what scoring now would give; see `score_model`."""
    names = (card.extractor, card.reference, card.num_samples["all"], card.final)
    asked = (inputs.extractor.name, inputs.reference.name, rung.num_samples, rung.final)
    return names == asked and card.asked == _asked(config, rung, baseline_scores)


def _asked(
    config: ExperimentConfig, rung: Rung, baseline_scores: Baseline | None
) -> dict[str, Any]:
    """Return what a search depends on beside the model and its protocol, as JSON gives it back."""
    evaluation = config.evaluation
    base = None if baseline_scores is None else baseline_scores.get(rung.num_samples)
    found = {
        "search": evaluation.omega_search,
        "choices": [(choice.omega, choice.sampler) for choice in sampling_choices(
            config, rung.num_steps)],
        "objectives": evaluation.objectives,
        "bounds": {c.text: c.bound(base) for c in parse_constraints(evaluation.constraints)},
        "metrics": evaluation.metrics if rung.final else FID_ALONE,
        "seed": evaluation.seed,
    }  # fmt: skip
    return cast(dict[str, Any], plain(found))


def check_scorable(config: ExperimentConfig, dataset: Dataset, num_samples: Sequence[int]) -> None:
    """Check all that a search of sampling choices needs, before anything starts.

    Args:
        config: objectives, constraints, samplers and averages.
        dataset: its classes and shot groups.
        num_samples: each N at which something is scored.

    Raises:
        ValueError: an objective or constraint cannot be read or is about a group that does not
            exist or gets fewer than two samples, or a sampler or average does not exist.
    """
    evaluation = config.evaluation
    known = [f"fid/{name}" for name in ("all", *dataset.shot_groups)]
    for objective in evaluation.objectives:
        if objective not in known:
            raise ValueError(
                f"objective is {objective}, and {dataset.num_classes} class(es) have no such "
                f"shot group; allowed: {', '.join(known)}"
            )
    check_constraints(evaluation.constraints, known)
    sampling_choices(config)
    least = 2 * dataset.num_classes
    if min(num_samples) < least:
        raise ValueError(
            f"{min(num_samples)} samples are too few for a FID per shot group; allowed: at least "
            f"{least}, two of each class"
        )
