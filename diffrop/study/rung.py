"""A rung: a number of images at which a trial is scored and may be stopped."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from diffrop.config import ExperimentConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Rung:
    """A point of a trial at which it is scored, and may be stopped."""

    images: int
    num_samples: int
    num_steps: int | None
    """Evaluations of the network, at most, for an image without guidance, which is a denoising
    step of most samplers; None leaves each sampler its own."""
    final: bool


def in_whole_batches(images: float, batch_size: int) -> int:
    """Return a number of images, its fraction cut off, rounded up to whole batches."""
    return -(-int(images) // batch_size) * batch_size


def images_of_guide(share: float, images_seen: int, batch_size: int) -> int:
    """Return the images that a guide has seen: whole batches nearest to a share of `images_seen`.

    They are one batch at least, and `images_seen` at most.
    """
    batches = images_seen // batch_size
    return min(max(1, round(share * batches)), batches) * batch_size


def guides_of(experiment: ExperimentConfig, rungs: Iterable[Rung]) -> set[int]:
    """Return the images of every guide that a score at one of the rungs may take."""
    shares = [share for share in experiment.scored_guides if share is not None]
    size = experiment.training.batch_size
    return {
        images_of_guide(share, rung.images, size)
        for rung, share in itertools.product(rungs, shares)
    }


def last_rung(experiment: ExperimentConfig) -> Rung:
    """Return the end of a training, in whole batches, with the full score."""
    training = experiment.training
    return Rung(
        images=in_whole_batches(training.num_images, training.batch_size),
        num_samples=experiment.evaluation.num_samples,
        num_steps=None,
        final=True,
    )
