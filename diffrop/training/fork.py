"""Forks: a training that starts from another's checkpoint, and what both must share."""

from typing import TYPE_CHECKING, Any

from diffrop.config import ExperimentConfig
from diffrop.training.checkpoint import config_of
from diffrop.training.identity import DATA_KEYS, canonical

if TYPE_CHECKING:
    from diffrop.data import Dataset

# What weights and optimiser mean rests on these; loss, rates, sampling of classes and seed are
# free to change.
SHARED_KEYS = (
    "model.base_channels",
    "model.channel_multipliers",
    "model.num_res_blocks",
    "model.attention_resolutions",
    "diffusion.num_timesteps",
    "diffusion.beta_start",
    "diffusion.beta_end",
)
FIXED_KEYS = (*SHARED_KEYS, *DATA_KEYS, "augmentation.conditional_probability")
"""What a training cannot change where it continues another's checkpoint; see `check_fork`."""
MARGIN_KEYS = (
    "contrastive.form",
    "contrastive.margin_rule",
    "contrastive.margin",
    "contrastive.space",
    "contrastive.distance_reduction",
    "contrastive.variance_scale",
)


def check_fork(card: dict[str, Any], config: ExperimentConfig, dataset: "Dataset") -> None:
    """Check that a training may start from the checkpoint with this card.

    Raises:
        ValueError: images, network, forward process, averages or length do not fit.
    """
    if "config" not in card:
        raise ValueError("it holds no diffusion model; allowed: a checkpoint of a training")
    if card["data_digest"] != dataset.train_digest:
        raise ValueError("it was trained on other images; allowed: one of the same training set")
    before = config_of(card)
    old, new = canonical(before), canonical(config)
    differing = [
        f"{key} {old[key]!r} -> {new[key]!r}" for key in SHARED_KEYS if old[key] != new[key]
    ]
    takes_inputs = [c.augmentation.conditional_probability > 0 for c in (before, config)]
    if takes_inputs[0] != takes_inputs[1]:
        differing.append(f"augmentation inputs {takes_inputs[0]} -> {takes_inputs[1]}")
    if differing:
        raise ValueError(
            f"it holds another network or forward process ({'; '.join(differing)}); allowed: the "
            "same"
        )
    kept, asked = before.training.ema_lengths, config.training.ema_lengths
    if not set(asked) <= set(kept):
        raise ValueError(
            f"training.ema_lengths is {list(asked)}, and it keeps the averages {list(kept)}; "
            "allowed: some of those"
        )
    seen, size, end = card["images_seen"], config.training.batch_size, config.training.num_images
    if seen % size or seen >= end:
        raise ValueError(
            f"it has seen {seen} images; allowed: whole batches of {size}, fewer than num_images "
            f"= {end}"
        )


def objective_goes_on(before: ExperimentConfig, now: ExperimentConfig) -> bool:
    """Whether a loss's running margins mean the same in two trainings."""
    old, new = canonical(before), canonical(now)
    if new.get("contrastive.form") == "none" or old.get("contrastive.form") == "none":
        return False
    return all(old.get(key) == new.get(key) for key in MARGIN_KEYS)
