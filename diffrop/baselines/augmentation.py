"""Generated images as training data of a classifier (Section 5.5, Table 3)."""

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diffrop.activity import Tell, untold
from diffrop.baselines.classifier import predicted_labels, train_classifier
from diffrop.baselines.classifier_config import ClassifierConfig
from diffrop.baselines.gan_trainer import gan_samples
from diffrop.checkpoint_file import Checkpoint
from diffrop.csv_cells import guarded
from diffrop.data import LabelledImages
from diffrop.data.held_out import SplitDataset
from diffrop.metrics.classification import ClassificationScores, classification_scores
from diffrop.metrics.report import balanced_labels
from diffrop.scoring.checkpoint_samples import draw_from
from diffrop.training.checkpoint import config_of


@dataclass(frozen=True)
class TableRow:
    """One training set, and the scores of the classifier that it made."""

    training_data: str
    num_training_images: int
    scores: ClassificationScores
    """Scores on held-out images; precision and recall are means over classes."""

    def to_dict(self) -> dict[str, Any]:
        """Return one flat level of plain data."""
        return {
            "training_data": self.training_data,
            "num_training_images": self.num_training_images,
            "accuracy": self.scores.accuracy,
            "precision": self.scores.precision,
            "recall": self.scores.recall,
        }


def generated_images(
    checkpoint: Checkpoint,
    num_images: int,
    omega: float,
    seed: int,
    device: torch.device,
    tell: Tell = untold,
) -> LabelledImages:
    """Draw images from a checkpoint of ours, class-balanced where the model takes labels.

    A diffusion model's by its study's own sampler; those of CBGAN, which takes no labels, are
    labelled by its frozen classifier. How far it is, is told.

    Raises:
        ValueError: `num_images` or `omega` is not allowed.
    """
    if num_images < 1 or omega < 0:
        raise ValueError(
            f"num-generated is {num_images}, omega {omega}; allowed: 1 or more, 0 or more"
        )
    card = checkpoint.card
    names = tuple(card["class_names"])
    if "gan" in card:
        if omega != 0:
            raise ValueError(f"omega is {omega} with a GAN; allowed: 0, GANs take no guidance")
        return LabelledImages(*gan_samples(checkpoint, num_images, seed, device, tell), names)
    labels, sampling = balanced_labels(num_images, len(names)), config_of(card).sampling
    return draw_from(checkpoint, sampling, labels, omega, seed, device, tell)


def check_same_data(checkpoint: Checkpoint, split: SplitDataset) -> None:
    """Raise ValueError unless the checkpoint was trained on the split's long-tailed images.

    Otherwise its images might carry what they know of the held-out ones.
    """
    if checkpoint.card.get("data_digest") != split.train_digest:
        raise ValueError(
            f"the checkpoint was trained on other images ({checkpoint.card.get('dataset')}) than "
            "this classifier; allowed: a checkpoint of the same dataset and imbalance factor"
        )


def classifier_table(
    config: ClassifierConfig,
    split: SplitDataset,
    generated: LabelledImages | None,
    device: torch.device,
    report: Callable[[TableRow], object] = lambda row: None,
    tell: Tell = untold,
) -> list[TableRow]:
    """Train one classifier for each training set and score all of them on the held-out images.

    Args:
        config: the same for every training set, the number of images seen included.
        split: long-tailed, balanced and held-out images; the balanced row is left out where the
            data are long-tailed themselves.
        generated: what the last row adds to the long-tailed images; None leaves that row out.
        device: of the training.
        report: receives each row as it is done.
        tell: is told how far the row is.
    """
    sets = {"balanced": split.balanced, "long-tailed": split.train}
    if len(split.balanced.labels) == len(split.train.labels):
        del sets["balanced"]
    if generated is not None:
        name = f"long-tailed + {len(generated.labels):,} generated"
        sets[name] = joined(split.train, generated)
    rows = []
    for name, data in sets.items():
        rows.append(training_set_row(name, config, data, split.test, device, tell))
        report(rows[-1])
    return rows


def training_set_row(
    name: str,
    config: ClassifierConfig,
    data: LabelledImages,
    test: LabelledImages,
    device: torch.device,
    tell: Tell = untold,
) -> TableRow:
    """Train a classifier on `data` and score it on the held-out images `test`; tell how far."""
    network = train_classifier(config, data, device, tell)
    predicted = predicted_labels(network, test.images, tell)
    scores = classification_scores(predicted, test.labels, range(len(data.class_names)))
    return TableRow(name, len(data.labels), scores)


def joined(first: LabelledImages, second: LabelledImages) -> LabelledImages:
    """Return the images of both, which have the same classes and shape."""
    return LabelledImages(
        torch.cat([first.images, second.images]),
        torch.cat([first.labels, second.labels]),
        first.class_names,
    )


TABLE_HEAD = f"{'training data':34} {'images':>8} {'accuracy':>9} {'precision':>10} {'recall':>8}"


def table_line(row: TableRow) -> str:
    """Return a row under `TABLE_HEAD`, its scores in per cent."""
    scores = row.scores
    return (
        f"{row.training_data:34} {row.num_training_images:>8,} {100 * scores.accuracy:>9.2f} "
        f"{100 * scores.precision:>10.2f} {100 * scores.recall:>8.2f}"
    )


def table_notes(split: SplitDataset, rows: Sequence[TableRow], num_images: int) -> list[str]:
    """Return what the table cannot say, each in a line of at most 80 columns."""
    counts = split.test.class_counts
    total = sum(counts)
    error = max(math.sqrt(r.scores.accuracy * (1 - r.scores.accuracy) / total) for r in rows)
    notes = [
        f"Per cent on {total:,} held-out images, {min(counts)} to {max(counts)} a class; "
        "precision and recall",
        f"are means over classes. ResNet-32, {num_images:,} images seen for each row, one seed;",
        f"the standard error of an accuracy is up to {100 * error:.1f} points.",
    ]
    if not any("generated" in row.training_data for row in rows):
        notes.append("No --checkpoint was given, so there is no row with generated images.")
    return notes


def write_results(directory: Path, card: dict[str, Any], rows: Sequence[TableRow]) -> None:
    """Write results.json (the card and the rows) and results.csv (the rows) into a new folder."""
    directory.mkdir(parents=True)
    plain = [row.to_dict() for row in rows]
    text = json.dumps({**card, "rows": plain}, indent=1)
    (directory / "results.json").write_text(text, encoding="utf-8")
    with (directory / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(plain[0]))
        writer.writeheader()
        writer.writerows({name: guarded(value) for name, value in row.items()} for row in plain)
