"""Figure: which classes the samples of each asked class are taken for."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.model import (
    CLASSIFIER,
    can_read_model,
    frequent_first,
    load_data,
    load_model,
    model_trials,
    study_extractor,
)
from diffrop.analysis.figures import style
from diffrop.record.names import trial_label

if TYPE_CHECKING:
    from torch import Tensor

    from diffrop.data import Dataset
    from diffrop.metrics.features import FeatureExtractor

READING = (
    "Rows are the classes that were asked for, columns what a classifier of real images sees in "
    "the samples. "
    "Both run from the most frequent to the rarest class of the training images. Everything off "
    "the diagonal is the overlap that the contrastive loss is meant to reduce; rare classes "
    "whose samples look like frequent ones appear at the lower left. Numbers are percentages of "
    "a row, from 5 to 95 %."
)
PER_CLASS = {20: 40, 10_000: 10}
"""Samples of each class, by the largest number of classes."""
MAX_NAMED = 20
"""More classes than these are neither named nor numbered."""
LEAST_SHOWN, MOST_SHOWN = 0.05, 0.95
"""A darker square needs no number."""
DARK = 0.55
"""Shares from which numbers are white."""
SEED = 0

applies = can_read_model


def class_confusion_figure(study: StudyResults) -> Figure:
    """Draw one matrix each for the baseline and for the best contrastive trial.

    Returns:
        axes "baseline" and "best", as far as these have a checkpoint, with one picture each.
    """
    trials = model_trials(study)
    if not trials:
        return style.sentence_figure(
            study, "No trial to show has a checkpoint left to sample from."
        )
    try:
        data = load_data(study)
        extractor = study_extractor(study, data, CLASSIFIER)
        found = [confusion(study, trial, data, extractor) for trial in trials]
    except ValueError as error:
        return style.sentence_figure(study, f"No samples can be classified: {error}")
    figure = style.new_figure(1.5 + 3.2 / len(found))
    image = None
    for place, (trial, shares) in enumerate(zip(trials, found, strict=True)):
        label = "baseline" if trial["baseline"] else "best"
        axes = figure.add_subplot(1, len(found), place + 1, label=label)
        image = _draw(axes, trial, shares, data)
        axes.set_xlabel("class seen", fontsize=style.TEXT_PT)
        axes.tick_params(labelleft=place == 0)
    figure.axes[0].set_ylabel("class asked for", fontsize=style.TEXT_PT)
    if data.num_classes > MAX_NAMED:
        bar = figure.colorbar(image, ax=figure.axes, shrink=0.6, aspect=25)  # type: ignore[arg-type]
        bar.set_label("share of a row", fontsize=style.SMALL_PT)
        bar.ax.tick_params(labelsize=style.SMALL_PT)
    real = extractor.extract(data.reference.images).predictions
    assert real is not None  # the classifier knows the labels
    right = float((real == data.reference.labels).double().mean())
    per_class = samples_per_class(data.num_classes)
    style.add_caption(
        figure,
        f"trials scored by {style.caption(study)}",
        f"N = {per_class * data.num_classes:,} samples, {per_class} a class, "
        f"{trials[-1]['sampler']}; classified by {extractor.name}, which is right on {right:.1%} "
        "of the real images, which it learned",
    )
    return figure


def samples_per_class(num_classes: int) -> int:
    """Return how many samples of each class are classified."""
    return next(count for limit, count in PER_CLASS.items() if num_classes <= limit)


def confusion(
    study: StudyResults, trial: pd.Series, data: "Dataset", extractor: "FeatureExtractor"
) -> np.ndarray:
    """Return the share of samples of the asked class (row) that are taken for each (column)."""
    import torch

    num_classes = data.num_classes
    labels = torch.arange(samples_per_class(num_classes) * num_classes) % num_classes
    predictions = extractor.extract(load_model(study, trial).samples(labels, SEED)).predictions
    assert predictions is not None  # the classifier knows the labels
    return confusion_shares(labels, predictions, frequent_first(data))


def confusion_shares(labels: "Tensor", predictions: "Tensor", order: list[int]) -> np.ndarray:
    """Return the confusion matrix with rows that sum to 1 and the classes in `order`."""
    from sklearn.metrics import confusion_matrix

    shares: np.ndarray = confusion_matrix(
        labels.numpy(), predictions.numpy(), labels=order, normalize="true"
    )
    return shares


def _draw(axes: Axes, trial: pd.Series, shares: np.ndarray, data: "Dataset") -> AxesImage:
    image = axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
    look = style.form_style(str(trial["form"]))
    right = float(np.diag(shares).mean())
    axes.set_title(
        f"{trial_label(trial['number'])}, {look.label}, omega = {trial['omega']:g}\n"
        f"{right:.1%} seen as asked\n{_tail_as_head(shares, data):.1%} of few- as many-shot",
        fontsize=style.LEGEND_PT,
        loc="left",
    )
    axes.tick_params(labelsize=style.CAPTION_PT, length=2)
    if len(shares) > MAX_NAMED:
        return image
    names = [data.train.class_names[label] for label in frequent_first(data)]
    long = max(map(len, names)) > 2
    axes.set_xticks(range(len(names)), names, rotation=90 if long else 0)
    axes.set_yticks(range(len(names)), names)
    for row, column in zip(
        *np.where((shares >= LEAST_SHOWN) & (shares <= MOST_SHOWN)), strict=True
    ):
        share = shares[row, column]
        axes.text(
            column,
            row,
            f"{100 * share:.0f}",
            ha="center",
            va="center",
            fontsize=style.CAPTION_PT,
            color="white" if share > DARK else "black",
        )
    return image


def _tail_as_head(shares: np.ndarray, data: "Dataset") -> float:
    """The share of the few-shot classes' samples that are taken for many-shot classes."""
    order, groups = frequent_first(data), data.shot_groups
    few, many = (
        [order.index(label) for label in groups.get(name, [])] for name in ("few", "many")
    )
    return float(shares[np.ix_(few, many)].sum(axis=1).mean()) if few and many else 0.0
