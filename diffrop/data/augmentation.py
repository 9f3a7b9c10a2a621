"""Augmentation of training images, batched on their device: DiffAug, and conditional changes.

Random numbers are drawn for the global batch, from seeds of their own: neither the number of
workers nor the choice of augmentation changes what else is drawn for a batch.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from diffrop import distributed
from diffrop.config import AugmentationConfig
from diffrop.seeds import CONDITIONAL_AUGMENTATION, DIFFAUG, generator

NUM_AUGMENTATION_INPUTS = 9
NUM_DIFFAUG_DRAWS = 7
TRANSLATION_RATIO = 0.125  # of the image's side, either way
CUTOUT_RATIO = 0.5
SCALE_BASE = ANISOTROPY_BASE = 2**0.2
TRANSLATION_SCALE = 1 / 8


def augmented(
    config: AugmentationConfig, images: Tensor, batch_size: int, seed: int, position: int
) -> tuple[Tensor, Tensor | None]:
    """Augment this worker's share of the global batch at a position of the training.

    Args:
        config: what is done.
        images: of this worker (B / workers, C, H, W), float32, in [-1, 1].
        batch_size: global, B.
        seed: of the training.
        position: images seen before this batch.

    Returns:
        The images, and the network's inputs for the whole batch, float32 (B, 9); None if the
        conditional augmentation is off.
    """
    inputs = None
    if config.conditional_probability > 0:
        rng = generator(images.device, seed, CONDITIONAL_AUGMENTATION, position)
        parameters = draw_geometry(batch_size, config.conditional_probability, rng)
        images = transform(images, distributed.own_share(parameters))
        inputs = augmentation_inputs(parameters)
    if config.diffaug:
        rng = generator(images.device, seed, DIFFAUG, position)
        draws = torch.rand(batch_size, NUM_DIFFAUG_DRAWS, generator=rng, device=images.device)
        images = diffaug(images, config.diffaug, distributed.own_share(draws))
    return images, inputs


def check_augmentation_fits(config: AugmentationConfig, num_channels: int) -> None:
    """Raise ValueError for DiffAug's colour on grey images, whose saturation is fixed."""
    if "color" in config.diffaug and num_channels == 1:
        raise ValueError(
            f"augmentation.diffaug is {', '.join(config.diffaug)} on grey images, which have no "
            "saturation to change; allowed: translation, cutout"
        )


def diffaug(images: Tensor, parts: Sequence[str], draws: Tensor) -> Tensor:
    """Return images after DiffAug (Zhao et al., 2020); differentiable in the images.

    color: add U(-1/2, 1/2); scale the distance from each pixel's mean over channels by U(0, 2);
    scale that from the image's mean by U(1/2, 3/2). translation: by whole pixels, up to 1/8 of
    the side either way, filled with 0. cutout: a square of half the side, its centre anywhere in
    the image, becomes 0. Values may leave [-1, 1], as published.

    Args:
        images: (B, C, H, W), float.
        parts: any of color, translation, cutout; done in that order.
        draws: uniform in [0, 1), float (B, 7); all are drawn whatever the parts.
    """
    if "color" in parts:
        brightness, saturation, contrast = draws[:, :3].T.view(3, -1, 1, 1, 1)
        images = images + brightness - 0.5
        grey = images.mean(dim=1, keepdim=True)
        images = grey + (images - grey) * (2 * saturation)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = mean + (images - mean) * (contrast + 0.5)
    if "translation" in parts:
        images = _translate(images, draws[:, 3], draws[:, 4])
    if "cutout" in parts:
        height, width = images.shape[2:]
        rows, columns = _hole(draws[:, 5], height), _hole(draws[:, 6], width)
        images = images * ~(rows[:, None, :, None] & columns[:, None, None, :])
    return images


def _translate(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Shift by whole pixels; `down` and `right` are uniform in [0, 1), (B,)."""
    rows, row_inside = _shifted(down, images.shape[2])
    columns, column_inside = _shifted(right, images.shape[3])
    first = torch.arange(len(images), device=images.device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[first, rows[:, :, None], columns[:, None, :]]
    inside = row_inside[:, None, :, None] & column_inside[:, None, None, :]
    return moved.permute(0, 3, 1, 2) * inside


def _shifted(draws: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return where each output row comes from (B, size), and whether that is in the image."""
    most = int(size * TRANSLATION_RATIO + 0.5)
    shift = (draws * (2 * most + 1)).long() - most
    source = torch.arange(size, device=draws.device) - shift[:, None]
    return source.clamp(0, size - 1), (source >= 0) & (source < size)


def _hole(draws: Tensor, size: int) -> Tensor:
    """Return which rows (or columns) the cut-out square covers, bool (B, size)."""
    side = int(size * CUTOUT_RATIO + 0.5)
    centres = size + 1 - side % 2  # an even square is centred between pixels
    start = (draws * centres).long()[:, None] - side // 2
    place = torch.arange(size, device=draws.device)
    return (place >= start) & (place < start + side)


def draw_geometry(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """Draw a_0 ... a_7 of Karras et al. (2022), appendix F.2, float32 (count, 8).

    a_0 (x-flip) is 0 or 1 in every image. The others are drawn with `probability` each and 0
    otherwise: a_1 (y-flip) 0 or 1; a_2 (scale) normal; a_3 (rotation) uniform in (-pi, pi);
    a_4 uniform so and a_5 normal (direction and strength of the anisotropy, together); a_6 and
    a_7 normal (translation, together).
    """
    device = generator.device
    flips = torch.randint(2, (count, 2), generator=generator, device=device)
    angles = (2 * torch.rand(count, 2, generator=generator, device=device) - 1) * math.pi
    normal = torch.randn(count, 4, generator=generator, device=device)
    happens = torch.rand(count, 5, generator=generator, device=device) < probability
    scale, strength, right, down = normal.T
    rotation, direction = angles.T
    a = torch.stack([flips[:, 1], scale, rotation, direction, strength, right, down], dim=1)
    return torch.cat([flips[:, :1], a * happens[:, [0, 1, 2, 3, 3, 4, 4]]], dim=1)


def augmentation_inputs(parameters: Tensor) -> Tensor:
    """Return the network's nine inputs for (B, 8) parameters, (B, 9); all 0 for no change.

    (a_0, a_1, a_2, cos a_3 - 1, sin a_3, a_5 cos a_4, a_5 sin a_4, a_6, a_7), appendix F.2.
    """
    a_0, a_1, a_2, a_3, a_4, a_5, a_6, a_7 = parameters.T
    rotation, anisotropy = (a_3.cos() - 1, a_3.sin()), (a_5 * a_4.cos(), a_5 * a_4.sin())
    return torch.stack([a_0, a_1, a_2, *rotation, *anisotropy, a_6, a_7], dim=1)


def transform(images: Tensor, parameters: Tensor) -> Tensor:
    """Return square images under x-flip, y-flip, scale, rotation, anisotropy, then translation.

    One bicubic resampling with mirrored edges, clipped to [-1, 1]; the paper resamples at twice
    the resolution between wavelet filters.

    Args:
        images: (B, C, H, H), float32.
        parameters: a_0 ... a_7, (B, 8).
    """
    a_0, a_1, a_2, a_3, a_4, a_5, a_6, a_7 = parameters.T
    stretch = ANISOTROPY_BASE**a_5
    shrink = SCALE_BASE**-a_2
    # The inverse of each step, in reverse: from a place in the result to its source.
    inverse = _diagonal(shrink * (1 - 2 * a_0), shrink * (1 - 2 * a_1)) @ _rotation(a_3)
    inverse = inverse @ _rotation(a_4) @ _diagonal(1 / stretch, stretch) @ _rotation(-a_4)
    # Coordinates run from -1 to 1, so that a whole width is 2.
    shift = 2 * TRANSLATION_SCALE * torch.stack([a_6, a_7], dim=1).unsqueeze(2)
    affine = torch.cat([inverse, -inverse @ shift], dim=2)
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    moved = F.grid_sample(
        images, grid, mode="bicubic", padding_mode="reflection", align_corners=False
    )
    return moved.clamp(-1, 1)


def _rotation(angle: Tensor) -> Tensor:
    """(B,) to (B, 2, 2)."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)


def _diagonal(x: Tensor, y: Tensor) -> Tensor:
    """(B,) twice to (B, 2, 2)."""
    return torch.diag_embed(torch.stack([x, y], dim=1))
