"""What a training is: the settings on which its weights depend, and the keys made of them.

A key is the hash of the canonical settings, the number of workers, the training images and where
the training starts from. Equal keys mean the same weights at every number of images: bitwise on
one kind of CPU, and elsewhere up to the rounding of the device, its libraries and `compile`, which
are no part of the key (each checkpoint's card names the versions).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from diffrop.checkpoint_header import read_digest
from diffrop.config import ExperimentConfig
from diffrop.schema import flatten, value_differences

FORMAT = 2
"""Raised when the same settings come to train other weights. 2: 1 - alpha_bar is exact."""
KEY_PATTERN = re.compile(r"[0-9a-f]{32}")

# Parts and keys that leave the weights alone at every number of images.
PARTS_WITHOUT_EFFECT_ON_WEIGHTS = ("sampling", "evaluation")
# Where images lie and how they are read and thinned out: the digest of the images says it all.
DATA_KEYS = (
    "data.dataset",
    "data.root",
    "data.imbalance_factor",
    "data.image_size",
    "data.reference",
    "data.reference_root",
    "data.skip_damaged",
    "data.max_image_pixels",
)
# How often it is written down, and how fast. `compile` only reorders roundings, and where it fails
# the training continues without it.
PACE_KEYS = (
    "training.log_every_images",
    "training.grad_ratio_every_steps",
    "training.checkpoint_every_images",
    "training.keep_checkpoints",
    "training.snapshots_per_doubling",
    "training.compile",
)
# Nor does it matter how long it is. What `init_from` holds counts, as the origin, not its path.
KEYS_WITHOUT_EFFECT_ON_WEIGHTS = (
    *DATA_KEYS,
    *PACE_KEYS,
    "training.num_images",
    "training.init_from",
)
HINGE_KEYS = ("contrastive.margin", "contrastive.margin_rule")


def canonical(config: ExperimentConfig) -> dict[str, Any]:
    """Return the settings on which a training's checkpoints depend, by dotted key.

    Settings that the others leave without effect are absent, so that two ways to say the same
    training agree: those of a contrastive loss that is none, of a margin without a hinge, and so
    on. A setting that is unknown here counts.
    """
    flat = flatten(config.to_dict())
    kept = {
        key: value
        for key, value in flat.items()
        if key not in KEYS_WITHOUT_EFFECT_ON_WEIGHTS
        and key.partition(".")[0] not in PARTS_WITHOUT_EFFECT_ON_WEIGHTS
    }
    for key in _keys_switched_off(config):
        kept.pop(key, None)
    kept["training.ema_lengths"] = sorted(kept["training.ema_lengths"])
    return kept


def _keys_switched_off(config: ExperimentConfig) -> list[str]:
    keys: list[str] = []
    contrastive = config.contrastive
    if contrastive.form == "none":
        named = flatten({"contrastive": contrastive.to_dict()})
        keys += [key for key in named if key != "contrastive.form"]
    if contrastive.form != "hinge":
        keys += HINGE_KEYS
    if contrastive.tau_schedule != "exponential":
        keys.append("contrastive.decay_temperature")
    if config.objective.loss != "cbdm":
        named = flatten({"objective": config.objective.to_dict()})
        keys += [key for key in named if key.startswith("objective.cbdm_")]
    if config.diffusion.timesteps != "grouped":
        keys.append("diffusion.group_size")
    return keys


def differing_settings(theirs: ExperimentConfig, ours: ExperimentConfig) -> list[str]:
    """Return "key old -> new" for every canonical setting in which two trainings differ."""
    return value_differences(canonical(theirs), canonical(ours))


@dataclass(frozen=True)
class TrainingIdentity:
    """One trajectory of weights, whatever trial or study asks for it."""

    canonical: Mapping[str, Any]
    world_size: int
    """Number of workers; each has its own dropout masks."""
    data_digest: str
    """SHA-256 of the training images."""
    parent: str | None = None
    """Key of the checkpoint that it forks from."""
    origin: str | None = None
    """What else it starts from: "weights SHA256" for `init_from`, "checkpoint SHA256" for a
    checkpoint that came from outside and stands for a training of its own."""
    format: int = FORMAT
    """Of the version that trained it; an earlier one's weights are those of no training now."""

    @cached_property
    def key(self) -> str:
        """Hash of the fields, 32 hexadecimal digits."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as stored beside the checkpoints."""
        seed = self.canonical["training.seed"]
        return {"key": self.key, "seed": seed, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingIdentity":
        """Build from `to_dict`'s result.

        Raises:
            ValueError: the data is of a later format, or does not give the key that it names.
        """
        try:
            fields = {name: values[name] for name in cls.__dataclass_fields__}
            identity = cls(**fields)
            intact = values["key"] == identity.key
        except (KeyError, TypeError) as error:
            raise ValueError(f"no training's identity ({error!r})") from error
        if identity.format not in range(1, FORMAT + 1):
            raise ValueError(f"it is of format {identity.format!r}; allowed: 1 to {FORMAT}")
        if not intact:
            raise ValueError(f"it names the key {values['key']}, and its content gives another")
        return identity


def identify(
    config: ExperimentConfig, world_size: int, data_digest: str, parent: str | None = None
) -> TrainingIdentity:
    """Return the identity of a configuration's training.

    Args:
        config: the experiment.
        world_size: workers.
        data_digest: of the training images.
        parent: key of the checkpoint that it forks from; its weights take the place of those of
            `training.init_from`.

    Raises:
        CheckpointError: `training.init_from` is no readable checkpoint.
    """
    start = config.training.init_from
    origin = None
    if start is not None and parent is None:
        origin = f"weights {read_digest(Path(start))}"
    return TrainingIdentity(canonical(config), world_size, data_digest, parent, origin)


def checkpoint_key(key: str, images_seen: int) -> str:
    """Return the key of a training's checkpoint."""
    return f"{key}-{images_seen}"


def split_key(key: str) -> tuple[str, int]:
    """Return the training's key and the images seen of a checkpoint's key."""
    training, _, images = key.rpartition("-")
    return training, int(images)


def forked(
    parent: TrainingIdentity,
    images_seen: int,
    config: ExperimentConfig,
    world_size: int,
    data_digest: str,
) -> TrainingIdentity:
    """Return the identity of a training that starts from another's checkpoint.

    It is the parent's own where nothing changes: that training merely continues.
    """
    unchanged = TrainingIdentity(
        canonical(config), world_size, data_digest, parent.parent, parent.origin
    )
    if unchanged.key == parent.key and not is_imported(parent):
        return parent
    return identify(config, world_size, data_digest, checkpoint_key(parent.key, images_seen))


def is_imported(identity: TrainingIdentity) -> bool:
    """Whether a training is known by one checkpoint alone, which came from outside."""
    return identity.origin is not None and identity.origin.startswith("checkpoint ")
