"""Figure: the distances d_ij that the contrastive loss acts on, over the timesteps."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.model import (
    TrialModel,
    can_read_model,
    load_data,
    load_model,
    model_trials,
)
from diffrop.analysis.figures import style
from diffrop.record.names import trial_label

if TYPE_CHECKING:
    import torch

    from diffrop.data import Dataset

READING = (
    "Above, the distance d_ij of pairs of images with unequal labels; below, the share of it "
    "that the network, and so the loss, can change. "
    "The distance is squared, and a mean over an image's values: the median, with a band from "
    "the 10th to the 90th percentile, for pairs of two many-shot classes, of a many- and a few- "
    "shot class, and of two few-shot classes. Below, how far the network's prediction moves the "
    "distance away from the one under the true noise, as a share of it (median over pairs). The "
    "contrastive loss can change this share alone: where it is tiny, the loss is weak by "
    "construction."
)
NUM_TIMES = 11
NUM_IMAGES = 96
SEED = 0
KINDS = {
    "many and many": style.OTHER_COLOURS[0],
    "many and few": style.OTHER_COLOURS[1],
    "few and few": "#000000",
}

applies = can_read_model


def distance_over_time_figure(study: StudyResults) -> Figure:
    """Draw the distances, and the network's share of them, against t.

    Returns:
        axes "distance" with a line and a band for each kind of pairs, and "network" with one line.
    """
    trials = model_trials(study)
    if not trials:
        return style.sentence_figure(study, "No trial to show has a checkpoint left to read.")
    try:
        model, data = load_model(study, trials[-1]), load_data(study)
    except ValueError as error:
        return style.sentence_figure(study, f"No distances can be measured: {error}")
    found = pair_distances(model, data)
    figure = style.new_figure(4.4)
    above = figure.add_subplot(2, 1, 1, label="distance")
    _draw_distances(above, found)
    below = figure.add_subplot(2, 1, 2, label="network", sharex=above)
    _draw_network(below, found)
    above.tick_params(labelbottom=False)
    below.set_xlabel("timestep t")
    style.add_legend(figure, list(above.lines))
    contrastive, noise = model.config.contrastive, model.config.diffusion.noise
    trial = trials[-1]
    style.add_caption(
        figure,
        f"trial scored by {style.caption(study)}",
        f"{trial_label(trial['number'])}, {contrastive.space} space, {noise} noise, "
        f"N = {NUM_IMAGES} training images of equally many classes at each of {NUM_TIMES} t",
    )
    return figure


def pair_distances(model: TrialModel, data: "Dataset") -> pd.DataFrame:
    """Return the distances of pairs with unequal labels at several t.

    Returns:
        one row a pair and t: t, kind (of `KINDS`, or "other"), distance under the network's noise
        and true_distance under the noise that was added; means over an image's values.
    """
    import torch

    from diffrop.diffusion.contrastive import representation, squared_distances
    from diffrop.diffusion.sampling import from_uint8

    schedule, device = model.schedule, model.schedule.beta.device
    rng = torch.Generator().manual_seed(SEED)
    picked = _balanced_rows(data, rng)
    x_0 = from_uint8(data.train.images[picked]).to(device)
    labels = data.train.labels[picked]
    first, second = torch.triu_indices(len(labels), len(labels), offset=1)
    unequal = labels[first] != labels[second]
    first, second = first[unequal], second[unequal]
    kinds = _pair_kinds(data, labels[first], labels[second])
    own_noise = model.config.diffusion.noise == "own"
    parts = []
    for t in np.linspace(0, schedule.num_timesteps - 1, NUM_TIMES).round().astype(int):
        eps = torch.randn(x_0.shape if own_noise else x_0.shape[1:], generator=rng)
        eps = eps.expand(x_0.shape).to(device)
        times = torch.full((len(x_0),), int(t), device=device)
        x_t = schedule.q_sample(x_0, times, eps)
        with torch.no_grad():
            eps_theta = model.network(x_t, times, labels.to(device)).float()
        columns = []
        for noise in (eps_theta, eps):
            r = representation(model.config.contrastive.space, schedule, x_t, times, noise)
            squares = squared_distances(r.unsqueeze(0), r.unsqueeze(0))[0].cpu()
            columns.append((squares[first, second] / r.shape[1]).numpy())
        parts.append(
            pd.DataFrame(
                {"t": int(t), "kind": kinds, "distance": columns[0], "true_distance": columns[1]}
            )
        )
    return pd.concat(parts, ignore_index=True)


def _balanced_rows(data: "Dataset", rng: "torch.Generator") -> "torch.Tensor":
    """Draw rows of training images, about equally many of each class, repeats allowed."""
    import torch

    rows = []
    for place in range(NUM_IMAGES):
        of_class = (data.train.labels == place % data.num_classes).nonzero().flatten()
        rows.append(of_class[torch.randint(len(of_class), (1,), generator=rng)])
    return torch.cat(rows)


def _pair_kinds(data: "Dataset", first: "torch.Tensor", second: "torch.Tensor") -> list[str]:
    group_of = {label: name for name, classes in data.shot_groups.items() for label in classes}
    kinds = []
    for pair in zip(first.tolist(), second.tolist(), strict=True):
        groups = sorted((group_of.get(label, "") for label in pair), reverse=True)
        name = " and ".join(groups)
        kinds.append(name if name in KINDS else "other")
    return kinds


def _draw_distances(axes: Axes, found: pd.DataFrame) -> None:
    for kind, colour in KINDS.items():
        groups = found[found["kind"] == kind].groupby("t")["distance"]
        if not len(groups):
            continue
        median = groups.median()
        axes.plot(median.index, median, color=colour, linewidth=1.6, label=kind)
        axes.fill_between(
            median.index,
            groups.quantile(0.1),
            groups.quantile(0.9),
            color=colour,
            alpha=0.15,
            linewidth=0,
            label=f"{kind} band",
        )
    axes.set_ylabel("d_ij")
    axes.set_ylim(bottom=0)
    style.tidy_axes(axes)


def _draw_network(axes: Axes, found: pd.DataFrame) -> None:
    share = (found["distance"] - found["true_distance"]).abs() / found["true_distance"]
    median = share.groupby(found["t"]).median()
    median = median[median > 0]
    axes.plot(median.index, median, color=style.NEUTRAL, marker="o", markersize=4, label="network")
    if len(median):
        style.set_log(axes, "y")
    axes.set_title("share of it that depends on the network", fontsize=style.LEGEND_PT, loc="left")
    axes.set_ylabel("share of d_ij")
    style.tidy_axes(axes)
