"""Figure: samples of rarest and most frequent class, above their nearest training images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.model import (
    CLASSIFIER,
    TrialModel,
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
    "The first samples of the rarest and of the most frequent class, each above the training "
    "image that is nearest to it. "
    "They stand in the order in which they were drawn. The number is the distance in units of "
    "the median distance of real images that were not trained on: about 1 is as far as fresh "
    "images are, near 0 is a copy. A neighbour with an orange label is of another class. "
    "Memorisation is the probability that a sample lies nearer to the training images than a "
    "fresh image of its class does: 0.5 is none, 1 is copying."
)
NUM_SHOWN = 8
NUM_DRAWN = 40
"""Samples of each class behind the memorisation."""
SEED = 0
GAP = 0.12
"""Between images, as a share of their height."""

applies = can_read_model


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The samples of one class with what is nearest to them; images are uint8 (N, C, H, W)."""

    label: int
    samples: np.ndarray
    nearest: np.ndarray
    nearest_labels: list[int]
    distances: list[float]
    """In units of the median distance of held-out images; plain where there are none."""
    memorisation: float | None


def sample_neighbours_figure(study: StudyResults) -> Figure:
    """Draw two pairs of rows: the tail's samples with their neighbours, and the head's.

    Returns:
        axes "tail" and "head" with one picture each.
    """
    trials = model_trials(study)
    if not trials:
        return style.sentence_figure(
            study, "No trial to show has a checkpoint left to sample from."
        )
    trial = trials[-1]
    try:
        model, data = load_model(study, trial), load_data(study)
    except ValueError as error:
        return style.sentence_figure(study, f"No samples can be drawn: {error}")
    extractor = _extractor(study, data)
    order = frequent_first(data)
    figure = style.new_figure(4.1)
    for place, (name, label) in enumerate((("tail", order[-1]), ("head", order[0]))):
        axes = figure.add_subplot(2, 1, place + 1, label=name)
        _draw(axes, name, data, find_neighbours(model, data, extractor, label))
    look = style.form_style(str(trial["form"]))
    figure.suptitle(
        f"{trial_label(trial['number'])}, {look.label}: samples above, "
        "nearest training images below",
        fontsize=style.LEGEND_PT,
        x=0.01,
        ha="left",
    )
    space = "pixels" if extractor is None else extractor.name
    style.add_caption(
        figure,
        f"trial scored by {style.caption(study)}",
        f"omega = {trial['omega']:g}, {trial['sampler']}; nearest of {len(data.train.labels):,} "
        f"training images by {space}; memorisation over N = {NUM_DRAWN} samples of the class",
    )
    return figure


def find_neighbours(
    model: TrialModel, data: "Dataset", extractor: "FeatureExtractor | None", label: int
) -> Neighbours:
    """Draw samples of one class and find their nearest training images, of any class."""
    import torch

    from diffrop.metrics.neighbours import memorisation, nearest

    labels = torch.full((NUM_DRAWN,), label)
    samples = model.samples(labels, SEED)
    own, training = (_features(images, extractor) for images in (samples, data.train.images))
    distances, rows = nearest(own, training)
    unit, closer = 1.0, None
    if data.heldout is not None and bool((data.heldout.labels == label).any()):
        fresh = _features(data.heldout.images[data.heldout.labels == label], extractor)
        unit = float(nearest(fresh, training)[0].median()) or 1.0
        closer = memorisation(own, training, fresh).closer
    shown = rows[:NUM_SHOWN]
    return Neighbours(
        label=label,
        samples=samples[:NUM_SHOWN].numpy(),
        nearest=data.train.images[shown].numpy(),
        nearest_labels=data.train.labels[shown].tolist(),
        distances=(distances[:NUM_SHOWN] / unit).tolist(),
        memorisation=closer,
    )


def _extractor(study: StudyResults, data: "Dataset") -> "FeatureExtractor | None":
    """Return the study's extractor; None, for pixels, if out of reach or code not trusted."""
    try:
        return study_extractor(
            study, data, str(study.setting("evaluation.extractor") or CLASSIFIER)
        )
    except ValueError:
        return None


def _features(images: "Tensor", extractor: "FeatureExtractor | None") -> "Tensor":
    return images.flatten(1).float() if extractor is None else extractor.extract(images).features


def picture(found: Neighbours) -> np.ndarray:
    """Return both rows as one float picture (H, W, 3 or 1), with white gaps."""
    size = found.samples.shape[-1]
    gap = max(1, round(GAP * size))
    rows = []
    for images in (found.samples, found.nearest):
        padded = np.pad(
            images, ((0, 0), (0, 0), (gap, gap), (gap, gap)), constant_values=255
        )  # (N, C, H, W)
        rows.append(np.concatenate(list(padded), axis=2))
    return np.concatenate(rows, axis=1).transpose(1, 2, 0).astype(float) / 255


def _draw(axes: Axes, name: str, data: "Dataset", found: Neighbours) -> None:
    pixels = picture(found)
    axes.imshow(
        pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=1
    )
    axes.set_axis_off()
    kind = {"tail": "Rarest", "head": "Most frequent"}[name]
    count = data.train.class_counts[found.label]
    title = f"{kind} class: {data.train.class_names[found.label]}, {count:,} training images"
    if found.memorisation is not None:
        title += f"; memorisation {found.memorisation:.2f}"
    axes.set_title(title, fontsize=style.CAPTION_PT, loc="left")
    width = pixels.shape[1] / NUM_SHOWN
    for place, (distance, label) in enumerate(
        zip(found.distances, found.nearest_labels, strict=True)
    ):
        other = label != found.label
        text = f"{distance:.2f}" + (f"\n{data.train.class_names[label]}" if other else "")
        axes.annotate(
            text,
            ((place + 0.5) * width, pixels.shape[0]),
            ha="center",
            va="top",
            annotation_clip=False,
            fontsize=style.CAPTION_PT,
            color=style.OTHER_COLOURS[1] if other else "black",
        )
