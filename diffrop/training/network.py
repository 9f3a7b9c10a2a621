"""The network of an experiment: building it, reading it, and checking what it must fit."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from diffrop.checkpoint_file import Checkpoint, read_checkpoint
from diffrop.config import ExperimentConfig
from diffrop.data import Dataset
from diffrop.data.augmentation import NUM_AUGMENTATION_INPUTS, check_augmentation_fits
from diffrop.errors import CheckpointError
from diffrop.models.unet import UNet
from diffrop.study.rung import images_of_guide
from diffrop.training.checkpoint import average_part, config_of
from diffrop.training.reconstruction import reconstruct
from diffrop.training.store import TrainingFolder


def build_network(
    config: ExperimentConfig, num_classes: int, image_shape: tuple[int, int, int]
) -> UNet:
    """Return the fresh network of an experiment.

    Raises:
        ValueError: network or augmentation does not fit the images.
    """
    check_augmentation_fits(config.augmentation, image_shape[0])
    conditional = config.augmentation.conditional_probability > 0
    num_inputs = NUM_AUGMENTATION_INPUTS if conditional else 0
    return UNet(config.model, num_classes, image_shape, num_inputs)


def check_network(config: ExperimentConfig, dataset: Dataset) -> None:
    """Check all that a network must fit, before anything starts.

    Raises:
        ValueError: network or augmentation does not fit the images, or `training.init_from` is
            no checkpoint of such a network.
    """
    with torch.device("meta"), _Unfilled():  # shapes alone, without memory or time for weights
        network = build_network(config, dataset.num_classes, dataset.image_shape)
    if config.training.init_from is None:
        return
    try:
        found = read_checkpoint(Path(config.training.init_from)).part("model")
    except CheckpointError as error:
        raise ValueError(f"training.init_from: {error}") from error
    shapes = {name: tensor.shape for name, tensor in found.items()}
    if shapes != {name: tensor.shape for name, tensor in network.state_dict().items()}:
        raise ValueError(
            f"training.init_from is {config.training.init_from!r}, which holds another network; "
            "allowed: a checkpoint of the same model, classes, image size and augmentation inputs"
        )


class _Unfilled(TorchFunctionMode):
    """Leaves out the initial values of weights, which a network on no device has not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, unless it is one that fills a tensor with initial values."""
        named = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def check_batch_fits_workers(config: ExperimentConfig, num_workers: int) -> None:
    """Raise ValueError unless the global batch divides among workers, in whole groups."""
    group = config.diffusion.group_size if config.diffusion.timesteps == "grouped" else 1
    if config.training.batch_size % (num_workers * group):
        raise ValueError(
            f"batch_size is {config.training.batch_size} over {num_workers} worker(s); allowed: "
            f"a multiple of workers times group size, {num_workers * group}"
        )


def load_ema(
    checkpoint: Checkpoint, device: torch.device, ema_length: float | None = None
) -> UNet:
    """Return a checkpoint's averaged network, ready to sample from.

    `ema_length` is one of its `training.ema_lengths`, or another that the snapshots beside its
    file give; None is the exponential average.

    Raises:
        CheckpointError: there is no such average.
    """
    card = checkpoint.card
    channels, height, width = card["image_shape"]
    model = build_network(config_of(card), len(card["class_names"]), (channels, height, width))
    model.load_state_dict(_average(checkpoint, ema_length))
    return model.to(device).eval().requires_grad_(False)


def load_guide(checkpoint: Checkpoint, device: torch.device, share: float | None) -> UNet | None:
    """Return the averaged network of an earlier checkpoint of the same training.

    Args:
        checkpoint: as its file in the training's folder has it.
        device: of the network.
        share: of its images, as in `sampling.guide`; None has no guide.

    Raises:
        ValueError: there is no such checkpoint (any more); the shares that there are are named.
        CheckpointError: it is damaged.
    """
    if share is None:
        return None
    path, seen = checkpoint.path, checkpoint.card["images_seen"]
    size = config_of(checkpoint.card).training.batch_size
    images = images_of_guide(share, seen, size)
    if images == seen:  # of a single batch
        return load_ema(checkpoint, device)
    folder = None if path is None else TrainingFolder(path.resolve().parent)
    known = [] if folder is None else [count for count in folder.line() if count < seen]
    if folder is None or images not in known:
        shares = {_share_of(count, seen, size): count for count in known}
        allowed = ", ".join(f"{share:g} ({count:,} images)" for share, count in shares.items())
        where = "no file" if path is None else f"the folder of {path}"
        raise ValueError(
            f"guide is {share:g}, the checkpoint at {images:,} images, which {where} does not "
            f"hold; allowed: {allowed or 'none, the null label'}"
        )
    return load_ema(folder.owner(images).read(images, device), device)


def _share_of(images: int, images_seen: int, batch_size: int) -> float:
    """Return the share with the fewest digits that `images_of_guide` takes for `images`."""
    shares = (float(f"{images / images_seen:.{digits}g}") for digits in range(1, 18))
    return next(
        share for share in shares if images_of_guide(share, images_seen, batch_size) == images
    )


def _average(checkpoint: Checkpoint, length: float | None) -> dict[str, Tensor]:
    found = checkpoint.part(average_part(length))
    if found or length is None or checkpoint.path is None:
        return found
    folder = TrainingFolder(checkpoint.path.resolve().parent)
    return reconstruct(checkpoint, folder, length)[0]
