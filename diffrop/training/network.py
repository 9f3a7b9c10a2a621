"""The network of an experiment, and whether it fits the images and what it is to start from."""

from pathlib import Path

from diffrop.config import ExperimentConfig
from diffrop.data import Dataset
from diffrop.data.augmentation import NUM_AUGMENTATION_INPUTS, check_augmentation_fits
from diffrop.errors import CheckpointError
from diffrop.models.unet import UNet
from diffrop.training.checkpoint import read_checkpoint


def build_network(
    config: ExperimentConfig, num_classes: int, image_shape: tuple[int, int, int]
) -> UNet:
    """Return the fresh network of an experiment.

    Raises:
        ValueError: network or augmentation does not fit the images.
    """
    check_augmentation_fits(config.augmentation, image_shape[0])
    told = config.augmentation.conditional_probability > 0
    return UNet(config.model, num_classes, image_shape, NUM_AUGMENTATION_INPUTS if told else 0)


def check_network(config: ExperimentConfig, dataset: Dataset) -> None:
    """Check all that a network must fit, before anything starts.

    Raises:
        ValueError: network or augmentation does not fit the images, or `training.init_from` is
            no checkpoint of such a network.
    """
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
