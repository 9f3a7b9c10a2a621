"""One GAN from its data to its per-shot report."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from diffrop.activity import Tell, untold
from diffrop.baselines.classifier import train_classifier
from diffrop.baselines.classifier_config import classifier_recipe
from diffrop.baselines.gan_config import GanConfig
from diffrop.baselines.gan_networks import num_doublings
from diffrop.baselines.gan_trainer import GanTrainer, gan_samples
from diffrop.baselines.resnet import ResNet32
from diffrop.checkpoint_file import Checkpoint
from diffrop.config import DataConfig, EvaluationConfig
from diffrop.data import Dataset
from diffrop.engine.progress import Screen
from diffrop.metrics.report import ShotReport, evaluate
from diffrop.scoring.grid import save_grid
from diffrop.scoring.reference_scores import fid_lines
from diffrop.scoring.samples import ScoringInputs
from diffrop.storage import write_atomically
from diffrop.training.checkpoint import CheckpointDirectory

NUM_CHECKPOINTS = 10
"""Number written over a training; the newest two are kept."""
GRID_IMAGES_PER_CLASS = 10


def run_gan(
    config: GanConfig,
    data: DataConfig,
    evaluation: EvaluationConfig,
    inputs: ScoringInputs,
    directory: Path,
    device: torch.device,
    screen: Screen,
) -> ShotReport:
    """Train, save and score a GAN, from the newest checkpoint in `directory` if there is one.

    Writes checkpoints/, samples.png (a column for each class that was asked for) and report.json.

    Args:
        config: the GAN.
        data: of `inputs.dataset`.
        evaluation: number and seed of the samples.
        inputs: dataset, extractor and reference, as for the trials of a study.
        directory: of the training's files.
        device: of everything.
        screen: is told how far it is, and the losses.

    Raises:
        ValueError: the images do not fit the networks.
        NonFiniteError, CheckpointError: as GanTrainer and evaluate.
    """
    num_doublings(inputs.dataset.image_shape)
    files = CheckpointDirectory(directory / "checkpoints")
    newest = files.newest(device)
    classifier = None
    if config.model == "cbgan":
        classifier = _classifier(config, inputs.dataset, device, newest, screen)
    trainer = GanTrainer(config, data, inputs.dataset, device, classifier)
    if newest is not None:
        trainer.load(newest)
    every = max(1, config.num_images // NUM_CHECKPOINTS)

    def log(row: dict[str, float]) -> None:
        losses = ", ".join(
            f"{key.removeprefix('loss/')} {value:.3f}" for key, value in row.items() if "/" in key
        )
        screen.say(f"{trainer.images_seen:,} images: {losses}")
        files.save(trainer.images_seen, trainer.checkpoint())

    trainer.train_until(config.num_images, every, log, screen.working)
    checkpoint = trainer.checkpoint()
    grid = directory / "samples.png"
    report = score_gan(checkpoint, evaluation, inputs, device, grid, screen.working)
    card = {"images_seen": trainer.images_seen}
    plain = {**card, "config": config.to_dict(), **report.to_dict()}
    write_atomically(directory / "report.json", json.dumps(plain, indent=1))
    return report


def score_gan(
    checkpoint: Checkpoint,
    evaluation: EvaluationConfig,
    inputs: ScoringInputs,
    device: torch.device,
    grid: Path,
    tell: Tell = untold,
) -> ShotReport:
    """Score a GAN's checkpoint as a trial is scored, and write a grid of its first samples.

    How far it is, is told.

    CBGAN takes no labels, so its shot groups are those of its frozen classifier's labels: their
    sizes are what the GAN makes of them, and there is no accuracy.

    Raises:
        NonFiniteError: a score is not finite.
    """
    num_samples, seed = evaluation.num_samples, evaluation.seed
    images, labels = gan_samples(checkpoint, num_samples, seed, device, tell)
    num_classes = inputs.dataset.num_classes
    save_grid(images[: GRID_IMAGES_PER_CLASS * num_classes], num_classes, grid)
    what = f"{num_samples:,} images"
    samples = inputs.extractor.extract_told(images.to(device), what, tell)
    tell("metrics", None)
    model = checkpoint.card["gan"]["model"]
    if model == "cbgan":
        samples = dataclasses.replace(samples, predictions=None)
    # CBGAN's numbers of each class are not fixed, as intervals within classes take them to be.
    return evaluate(
        samples,
        labels,
        inputs.reference,
        sampler=model,
        metrics=evaluation.metrics,
        details=model != "cbgan",
    )


def report_lines(
    report: ShotReport, reference_scores: dict[str, Any], config: GanConfig, extractor: str
) -> list[str]:
    """Return the report in lines of at most 80 columns."""
    lines = fid_lines(report.scores, report.num_samples, reference_scores)
    accuracy = report.scores.get("accuracy/all")
    if accuracy is not None:
        lines.append(f"{100 * accuracy:.0f}% of the samples show the label that was asked for")
    lines.append(f"{config.model}, {extractor}, {config.num_images:,} real images seen")
    if config.model == "cbgan":
        lines.append("CBGAN is unconditional: shot groups by its frozen classifier's labels.")
    return lines


def _classifier(
    config: GanConfig,
    dataset: Dataset,
    device: torch.device,
    newest: Checkpoint | None,
    screen: Screen,
) -> ResNet32:
    """Return CBGAN's frozen classifier: the checkpoint's, or one trained on the long-tailed set.

    With deferred re-weighting, as the authors' classifiers.
    """
    if newest is not None:  # its weights follow with the rest of the state
        network = ResNet32(dataset.image_shape[0], dataset.num_classes).to(device)
        return network.eval().requires_grad_(False)
    screen.say("Training the long-tail classifier (ResNet-32, deferred re-weighting).")
    recipe = classifier_recipe(dataset.name)
    own = dataclasses.replace(recipe, deferred_reweighting=True, seed=config.seed)
    return train_classifier(own, dataset.train, device, screen.working)
