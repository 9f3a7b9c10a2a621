"""The configuration of the GAN baselines, and what suits each dataset."""

from dataclasses import dataclass
from typing import Any, Literal

from diffrop.schema import Config, require

GanModel = Literal["sngan", "gsr", "cbgan"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GanConfig(Config):
    """Which GAN and how it is trained; the defaults are for 32x32 images."""

    model: GanModel = "gsr"
    """sngan: hinge loss, projection discriminator; gsr: that plus the spectral regulariser;
    cbgan: unconditional, relativistic loss, class-balancing regulariser."""
    base_channels: int = 128
    """Channels of generator and discriminator."""
    z_dim: int = 128
    """Length of the noise vector of an image."""
    num_images: int = 38_400_000
    """Real images that the discriminator sees; 120,000 steps of 5 x 64 in gSR."""
    batch_size: int = 64
    """Images of a step, real and generated each."""
    discriminator_steps: int = 5
    """Steps of the discriminator for each of the generator."""
    learning_rate: float = 2e-4
    """Adam's, of both networks."""
    adam_beta_2: float = 0.9
    """The first beta is 0.5."""
    spectral_weight: float = 0.5
    """gsr only: lambda of the regulariser."""
    balance_weight: float = 10.0
    """cbgan only: lambda of the regulariser."""
    forgetting: float = 0.5
    """cbgan only: alpha of the class statistics."""
    cycle_images: int = 512_000
    """cbgan only: the statistics move each time that so many images were seen."""
    seed: int = 0

    def check(self) -> None:
        """Refuse lengths and rates that make no training."""
        for name in (
            "base_channels",
            "z_dim",
            "num_images",
            "discriminator_steps",
            "learning_rate",
            "cycle_images",
        ):
            require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        size = self.batch_size
        require(size >= 2, "batch_size", size, "at least 2, for batch normalisation")
        beta = self.adam_beta_2
        require(0 <= beta < 1, "adam_beta_2", beta, "0 <= beta < 1")
        for name in ("spectral_weight", "balance_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(0 < self.forgetting <= 1, "forgetting", self.forgetting, "0 < alpha <= 1")
        require(0 <= self.seed < 2**31, "seed", self.seed, "0 to 2^31 - 1")


def gan_recipe(model: GanModel, dataset: str) -> GanConfig:
    """Return the training that suits a GAN and a dataset of `diffrop.data.DATASETS`.

    CBGAN takes one discriminator step and beta_2 = 0.999, as its authors do; its weight of 1
    on digits is our own choice, theirs for CIFAR-10 is 10.
    """
    own: dict[str, Any] = {}
    if model == "cbgan":
        own = {"discriminator_steps": 1, "adam_beta_2": 0.999}
        own |= {"batch_size": 256, "num_images": 25_600_000}
    if dataset == "digits":
        own |= {"base_channels": 32, "z_dim": 32, "batch_size": 64}
        if model == "cbgan":
            own |= {"num_images": 51_200, "balance_weight": 1.0, "cycle_images": 6_400}
        else:
            own |= {"num_images": 102_400, "discriminator_steps": 2, "learning_rate": 1e-3}
    elif dataset == "fashion_mnist":
        own |= {"base_channels": 64, "num_images": 12_800_000}
    return GanConfig(model=model, **own)
