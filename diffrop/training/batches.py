"""The batches of a training: images, and every random choice that is made for them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffrop import distributed
from diffrop.config import ExperimentConfig
from diffrop.data import Dataset
from diffrop.data.augmentation import augmented
from diffrop.data.batches import ImageOrder
from diffrop.diffusion.cbdm import draw_other_labels, other_label_probabilities
from diffrop.diffusion.objective import Draws, draw
from diffrop.diffusion.sampling import from_uint8
from diffrop.seeds import OTHER_LABELS, STEP, generator


class TrainingBatches:
    """The batch at any position of a training, which depends on seed and position alone.

    Every worker draws for the global batch and takes its share of the images.
    """

    def __init__(self, config: ExperimentConfig, dataset: Dataset, device: torch.device) -> None:
        """Bring the training images to `device`."""
        self._config, self._device = config, device
        self._shape = (config.training.batch_size, *dataset.image_shape)
        self.images = dataset.train.images.to(device)
        self._labels = dataset.train.labels.to(device)
        self._order = ImageOrder(
            dataset.train.labels, config.data.class_sampling, config.training.seed, device
        )
        counts = dataset.train.class_counts
        self._other_labels = other_label_probabilities(config.objective, counts).to(device)

    def at(self, position: int) -> list[Tensor]:
        """Return the batch after `position` images, as a captured step can take it.

        Returns:
            This worker's images x_0 (B / workers, C, H, W), float32 in [-1, 1], and their labels,
            int64; of the global batch t, eps and the dropped labels as in `Draws`; then, where the
            configuration asks for them, CBDM's other labels and the augmentation inputs.
        """
        config, device, size = self._config, self._device, self._shape[0]
        seed = config.training.seed
        rng = generator(device, seed, STEP, position)
        indices = distributed.own_share(self._order.indices(position, size))
        draws = draw(config.diffusion, self._shape, rng)
        x_0, labels = from_uint8(self.images[indices]), self._labels[indices]
        if config.data.horizontal_flip:
            flips = torch.rand(size, generator=rng, device=device) < 0.5
            mirrored = distributed.own_share(flips)[:, None, None, None]
            x_0 = torch.where(mirrored, x_0.flip(-1), x_0)
        x_0, inputs = augmented(config.augmentation, x_0, size, seed, position)
        batch = [x_0.contiguous(), labels, draws.t, draws.eps, draws.dropped]
        if config.objective.loss == "cbdm":
            rng = generator(device, seed, OTHER_LABELS, position)
            batch.append(draw_other_labels(self._other_labels, size, rng))
        if inputs is not None:
            batch.append(inputs)
        return batch

    def unpacked(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor, Draws]:
        """Return images, labels and draws of what `at` returned."""
        x_0, labels, t, eps, dropped, *optional = batch
        other_labels = optional.pop(0) if self._config.objective.loss == "cbdm" else None
        augmentation = optional[0] if optional else None
        return x_0, labels, Draws(t, eps, dropped, other_labels, augmentation)
