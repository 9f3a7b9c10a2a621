"""The scores of any images with labels: from class folders, an `.npz`, or a checkpoint."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diffrop.activity import Tell, untold
from diffrop.checkpoint_file import Checkpoint
from diffrop.config import ExperimentConfig, Metric
from diffrop.data import Dataset, LabelledImages, load_dataset
from diffrop.engine.prepare import fit_reference
from diffrop.metrics.extractors import check_extractor, make_extractor
from diffrop.metrics.features import FeatureExtractor
from diffrop.metrics.reference import Reference
from diffrop.metrics.report import ShotReport, balanced_labels, evaluate, spread_rows
from diffrop.metrics.statistics_file import StatisticsFile, read_statistics
from diffrop.metrics.weights import sha256_of
from diffrop.samplers import sampler_name
from diffrop.scoring.checkpoint_samples import draw_from, sampling_of
from diffrop.training.checkpoint import config_of

WITHOUT_IMAGES: tuple[Metric, ...] = ("fid", "inception_score", "fid_infinity")
"""The metrics that need no reference image once its statistics are known."""


@dataclass(frozen=True)
class SampleSet:
    """Images that are to be scored."""

    images: LabelledImages
    sampler: str
    """What stands beside their scores: sampler and steps, or the name of the file."""


def checkpoint_config(
    checkpoint: Checkpoint, changes: Mapping[str, Any], tell: Tell = untold
) -> tuple[ExperimentConfig, Dataset]:
    """Return a checkpoint's configuration with changes of its data and score, and its data set.

    How far the data set is loaded, is told.

    Raises:
        ValueError: the data set is not the one that the checkpoint was trained on.
    """
    config = config_of(checkpoint.card).with_values(changes)
    dataset = load_dataset(config.data, tell)
    if checkpoint.card["data_digest"] != dataset.train_digest:
        raise ValueError(
            f"{checkpoint.path} was trained on other images than those of {dataset.name}, or they "
            "have changed; allowed: the same images and imbalance factor"
        )
    return config, dataset


def drawn_samples(
    checkpoint: Checkpoint,
    config: ExperimentConfig,
    sampler: str | None,
    omega: float,
    device: torch.device,
    tell: Tell = untold,
) -> SampleSet:
    """Draw as many images as a score takes, equally many of each class, as a study draws them.

    Args:
        checkpoint: of a diffusion model.
        config: N and the seed of the noise (`evaluation.num_samples`, `evaluation.seed`).
        sampler: as it stands beside scores; None is the checkpoint's own.
        omega: guidance scale.
        device: to sample on.
        tell: is told how far it is.

    Raises:
        ValueError: there is no such sampler or average.
    """
    evaluation, sampling = config.evaluation, sampling_of(checkpoint, sampler)
    labels = balanced_labels(evaluation.num_samples, len(checkpoint.card["class_names"]))
    images = draw_from(checkpoint, sampling, labels, omega, evaluation.seed, device, tell)
    limit = config_of(checkpoint.card).diffusion.num_timesteps
    return SampleSet(images, sampler_name(sampling, limit))


@dataclass(frozen=True)
class Target:
    """What images are scored against, and how."""

    extractor: FeatureExtractor
    reference: Reference
    metrics: Collection[Metric]


def score_target(
    config: ExperimentConfig,
    dataset: Dataset,
    cache: Path,
    device: torch.device,
    statistics: Path | None = None,
    *,
    trusted: bool = False,
    tell: Tell = untold,
) -> Target:
    """Make the extractor, and fit the reference or take its statistics from a file.

    Args:
        config: names the extractor and the metrics.
        dataset: with the reference images, classes and shot groups.
        cache: folder for what is computed once.
        device: for the extractor.
        statistics: file with the mean and covariance of the reference over all classes, in place
            of the data set's own images; see `diffrop.metrics.statistics_file`.
        trusted: see `make_extractor`.
        tell: is told how far it is.

    Raises:
        ValueError: weights or packages of the extractor are missing, or the statistics are of
            other features.
    """
    evaluation = config.evaluation
    check_extractor(evaluation.extractor, trusted=trusted)
    found = None if statistics is None else read_statistics(statistics)
    source = evaluation, dataset.reference, dataset.name, cache
    extractor = make_extractor(*source, trusted=trusted, tell=tell)
    if statistics is None or found is None:
        reference = fit_reference(extractor, dataset, cache, device, tell)
        return Target(extractor, reference, evaluation.metrics)
    _check_features(statistics, found, extractor, dataset)
    digest = sha256_of(statistics)[:8]
    reference = Reference.of_statistics(
        found.statistics,
        dataset.shot_groups,
        dataset.num_classes,
        f"statistics of {statistics.name} ({digest})",
    )
    metrics = [metric for metric in evaluation.metrics if metric in WITHOUT_IMAGES]
    return Target(extractor, reference, metrics)


def _check_features(
    path: Path, found: StatisticsFile, extractor: FeatureExtractor, dataset: Dataset
) -> None:
    """Raise ValueError unless statistics are, as far as they say, of an extractor's features."""
    if found.extractor not in (None, extractor.name):
        raise ValueError(
            f"{str(path)!r} is of the features of {found.extractor}; allowed: of {extractor.name}"
        )
    dim = extractor.extract(dataset.reference.images[:2]).features.shape[1]
    if len(found.statistics.mean) != dim:
        raise ValueError(
            f"{str(path)!r} is of {len(found.statistics.mean):,} features an image; allowed: "
            f"{dim:,}, as {extractor.name} has"
        )


def score_samples(
    samples: SampleSet, target: Target, device: torch.device, tell: Tell = untold
) -> ShotReport:
    """Score images over all classes, per shot group and per class, with intervals.

    They are taken in the order in which a study draws them, one of each class after another, so
    that images that went through files have the scores of the checkpoint that drew them.

    Args:
        samples: uint8 (N, C, H, W) with labels.
        target: as `score_target` makes it.
        device: for the extractor.
        tell: is told how far it is.

    Raises:
        NonFiniteError: a score is NaN or infinite.
    """
    labels = samples.images.labels
    rows = spread_rows(labels, range(len(samples.images.class_names)))
    images = samples.images.images[rows].to(device)
    extraction = target.extractor.extract_told(images, f"{len(rows):,} images", tell)
    tell("metrics", None)
    return evaluate(
        extraction, labels[rows], target.reference, sampler=samples.sampler, metrics=target.metrics
    )
