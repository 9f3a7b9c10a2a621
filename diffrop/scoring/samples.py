"""Drawing samples from a checkpoint, and keeping what was drawn for each candidate."""

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from diffrop import distributed
from diffrop.config import DiffusionConfig, ExperimentConfig, Metric, SamplingConfig
from diffrop.constraints import Scores
from diffrop.data import Dataset
from diffrop.diffusion.sampling import sample, to_uint8
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.diffusion.solvers import evaluated_timesteps
from diffrop.memory import out_of_memory_as
from diffrop.metrics.features import Extraction, FeatureExtractor
from diffrop.metrics.fid_carried import FidAtFullN
from diffrop.metrics.reference import Reference
from diffrop.metrics.report import ShotReport, balanced_labels, evaluate, group_rows
from diffrop.record.scoring_now import Part
from diffrop.scoring.sampling_search import Estimated
from diffrop.scoring.watch import ScoringWatch, pieces_of
from diffrop.seeds import SAMPLES, generator
from diffrop.study.sampling_choice import SamplingChoice
from diffrop.training.joint_stop import NEVER, JointStop

FID_ALONE: tuple[Metric, ...] = ("fid",)


SHOWN_PER_CLASS = 10


Averages = Mapping[float | None, nn.Module]
"""The networks to sample from, by relative length of their average; None is the exponential."""
Guides = Mapping[float, nn.Module]
"""The networks to guide with, by `SamplingConfig.guide`."""


@dataclass(frozen=True)
class ScoringInputs:
    """What scoring needs beside the model; made once by the driver, shared by all trials."""

    dataset: Dataset
    extractor: FeatureExtractor
    reference: Reference


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
    stop: JointStop = NEVER,
    guide: nn.Module | None = None,
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
        stop: looked at before every step of the sampler.
        guide: of `config.guide`.

    Raises:
        OutOfMemoryError: naming the batch size to lower.
        StopRequested: it was asked to stop.
    """
    device, size = schedule.beta.device, config.batch_size
    images = torch.zeros(len(labels), *image_shape, dtype=torch.uint8, device=device)
    rank, workers = distributed.rank(), distributed.world_size()
    place, end = (start + len(labels) * share // workers for share in (rank, rank + 1))
    with stop.piece() as look:
        while place < end:
            chunk, offset = divmod(place, size)
            own = slice(place - start, min(end, (chunk + 1) * size) - start)
            part = labels[own].to(device)
            rng = generator(device, seed, SAMPLES, chunk)
            where = (rng, size, offset, look, guide)
            with out_of_memory_as(
                f"out of memory while sampling {len(part)} images at a time; lower "
                "sampling.batch_size"
            ):
                drawn = sample(
                    model, schedule, config, image_shape, part, omega, null_label, *where
                )
            images[own] = to_uint8(drawn)
            place += len(part)
    if workers > 1:
        dist.all_reduce(images)
    return images


def drawing_pieces(diffusion: DiffusionConfig, sampling: SamplingConfig, num_images: int) -> int:
    """Return how often `draw_samples` looks at the stop: before every evaluation of a batch."""
    each = len(evaluated_timesteps(diffusion, sampling.sampler, sampling.num_steps))
    return pieces_of(num_images, sampling.batch_size, each)


class CandidateSamples:
    """What was drawn for each candidate that is still in the race."""

    def __init__(
        self,
        averages: Averages,
        schedule: NoiseSchedule,
        config: ExperimentConfig,
        inputs: ScoringInputs,
        stop: JointStop = NEVER,
        guides: Guides = MappingProxyType({}),
        watch: ScoringWatch | None = None,
    ) -> None:
        self._watch = watch or ScoringWatch(0, (), 0, lambda now: None)
        self._stop, self._guides = stop.watched(self._watch.look), guides
        self._diffusion = config.diffusion
        self._averages, self._schedule, self._inputs = averages, schedule, inputs
        self._seed = config.evaluation.seed
        self._drawn: dict[SamplingChoice, tuple[Tensor, Extraction]] = {}
        self._count = 0
        self._carry = {
            group: FidAtFullN(statistics)
            for group, statistics in inputs.reference.statistics.items()
        }
        self.reports: dict[SamplingChoice, ShotReport] = {}
        """The newest of each candidate: FID alone."""
        self.num_drawn = 0
        self.seconds = dict.fromkeys(("sampling", "features", "metrics"), 0.0)

    def scores(
        self, choices: Sequence[SamplingChoice], num_samples: int, full: int
    ) -> list[Estimated]:
        """Return the FIDs of candidates on the first so many samples, equal on every worker.

        Args:
            choices: the candidates; with more samples than before, the others have left.
            num_samples: over all classes.
            full: the N that FIDs are carried to.
        """
        if num_samples > self._count:
            self._drawn = {c: kept for c, kept in self._drawn.items() if c in choices}
            self._count = num_samples
        return [self._scores(choice, full) for choice in choices]

    def detailed(self, choice: SamplingChoice, num_samples: int) -> ShotReport:
        """Return a candidate's FIDs with their influence; what is missing is drawn first."""
        known = self._drawn.get(choice)
        if known is None or len(known[1].features) < num_samples:
            self.scores([choice], num_samples, num_samples)
        return self.report(choice, FID_ALONE, details=True)

    def report(
        self, choice: SamplingChoice, metrics: Collection[Metric], details: bool
    ) -> ShotReport:
        """Return a candidate's report on its samples so far."""
        _, extraction = self._drawn[choice]
        with self._timed("metrics"), self._stop.piece() as look:
            return evaluate(
                extraction,
                self._labels(0),
                self._inputs.reference,
                sampler=choice.sampler,
                metrics=metrics,
                details=details,
                look=look,
            )

    def first_images(self, choice: SamplingChoice) -> Tensor:
        """Return the first samples of a candidate, ten of each class at most."""
        return self._drawn[choice][0]

    def _scores(self, choice: SamplingChoice, full: int) -> Estimated:
        self._draw(choice)
        self.reports[choice] = self.report(choice, FID_ALONE, details=False)
        # Workers must not differ in who goes on: then they would wait for each other for ever.
        scores = dict(self.reports[choice].scores)
        found = Estimated(scores, scores | self._carried(choice, scores, full))
        shared: Estimated = distributed.from_rank_0(found, self._schedule.beta.device)
        return shared

    def _carried(self, choice: SamplingChoice, scores: Scores, full: int) -> dict[str, float]:
        """Return the FID of each group, carried to its share of the full N."""
        labels, (_, extraction) = self._labels(0), self._drawn[choice]
        groups = self._inputs.reference.groups
        rows = group_rows(labels, groups)
        more = group_rows(balanced_labels(full, self._inputs.dataset.num_classes), groups)
        found = {}
        with self._timed("metrics"), self._stop.piece() as look:
            for group, own in rows.items():
                look()
                fid, carry = scores[f"fid/{group}"], self._carry[group]
                features, count = extraction.features[own], len(more[group])
                found[f"fid/{group}"] = carry.carried(fid, features, labels[own], count)
        return found

    def _draw(self, choice: SamplingChoice) -> None:
        """Add samples up to the round's number."""
        known = self._drawn.get(choice)
        start = 0 if known is None else len(known[1].features)
        dataset = self._inputs.dataset
        model = self._averages[choice.sampling.ema_length]
        share = choice.sampling.guide
        self._watch.draw(choice, self._count)
        count = self._count - start
        pieces = drawing_pieces(self._diffusion, choice.sampling, count)
        with self._timed("sampling", count, pieces):
            images = draw_samples(
                model,
                self._schedule,
                choice.sampling,
                dataset.image_shape,
                self._labels(start),
                choice.omega,
                dataset.num_classes,
                self._seed,
                start,
                self._stop,
                None if share is None else self._guides[share],
            )
        pieces = pieces_of(count, self._inputs.extractor.batch_size)
        with self._timed("features", count, pieces), self._stop.piece() as look:
            extraction = self._inputs.extractor.extract(images, look)
        self.num_drawn += len(images)
        shown = images.cpu()
        if known is not None:
            shown, extraction = torch.cat([known[0], shown]), _joined(known[1], extraction)
        self._drawn[choice] = (shown[: SHOWN_PER_CLASS * dataset.num_classes], extraction)

    def _labels(self, start: int) -> Tensor:
        return balanced_labels(self._count, self._inputs.dataset.num_classes)[start:]

    @contextlib.contextmanager
    def _timed(self, part: Part, images: int = 0, pieces: int = 1) -> Iterator[None]:
        begin = time.perf_counter()
        self._watch.begin(part, images, pieces)
        yield
        self._watch.end()
        if self._schedule.beta.is_cuda:
            torch.cuda.synchronize()
        self.seconds[part] += time.perf_counter() - begin


def _joined(first: Extraction, second: Extraction) -> Extraction:
    """Return what an extractor said of the images of both."""

    def both(name: str) -> Any:
        parts = [getattr(first, name), getattr(second, name)]
        return None if parts[0] is None else torch.cat(parts)

    return Extraction(first.extractor, both("features"), both("logits"), both("predictions"))
