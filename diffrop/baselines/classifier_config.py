"""The configuration of the long-tail classifier, and what suits each dataset."""

from dataclasses import dataclass

from diffrop.schema import Config, require


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierConfig(Config):
    """How a classifier is trained; the defaults suit 32x32 images (200 epochs of 50,000)."""

    num_images: int = 10_000_000
    """Images seen; the same for every training set that is compared."""
    batch_size: int = 128
    """Images of a step."""
    learning_rate: float = 0.1
    """Of SGD; rises over the first 5 % of the images, then falls to 0 along a cosine."""
    weight_decay: float = 2e-4
    """SGD's."""
    crop_padding: int = 4
    """Zero pixels around an image, of which a crop of its own size is taken at random."""
    horizontal_flip: bool = True
    """Mirror each training image with probability 1/2."""
    deferred_reweighting: bool = False
    """Weigh classes by the inverse effective number of images in the last fifth (DRW)."""
    seed: int = 0

    def check(self) -> None:
        """Refuse lengths and rates that make no training."""
        for name in ("num_images", "batch_size", "learning_rate"):
            require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        for name in ("weight_decay", "crop_padding"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(0 <= self.seed < 2**31, "seed", self.seed, "0 to 2^31 - 1")


def classifier_recipe(dataset: str) -> ClassifierConfig:
    """Return the training that suits a dataset of `diffrop.data.DATASETS`."""
    match dataset:
        case "digits":
            return ClassifierConfig(num_images=19_200, crop_padding=1, horizontal_flip=False)
        case "fashion_mnist":
            return ClassifierConfig(num_images=6_000_000, crop_padding=2)
    return ClassifierConfig()
