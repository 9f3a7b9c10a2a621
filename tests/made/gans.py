"""Small GANs on digits."""

import dataclasses

from diffrop.baselines.gan_config import GanConfig, GanModel
from diffrop.config import DataConfig

DATA = DataConfig(dataset="digits", imbalance_factor=0.1)


def small_gan(model: GanModel, **changes: object) -> GanConfig:
    """A GAN of which a step takes milliseconds."""
    config = GanConfig(
        model=model,
        base_channels=8,
        z_dim=4,
        batch_size=8,
        num_images=64,
        discriminator_steps=2,
        cycle_images=32,
    )
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]
