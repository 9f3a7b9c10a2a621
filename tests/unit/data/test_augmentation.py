import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from diffrop.config import AugmentationConfig
from diffrop.data.augmentation import (
    augmentation_inputs,
    augmented,
    check_augmentation_fits,
    diffaug,
    draw_geometry,
    transform,
)

PARTS = ("color", "translation", "cutout")


def images(count: int = 64, size: int = 8, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, size, size, generator=generator) * 2 - 1


def draws(count: int = 64) -> Tensor:
    return torch.rand(count, 7, generator=torch.Generator().manual_seed(1))


def neutral(count: int, **values: float) -> Tensor:
    """Uniform draws at which colour changes nothing, with some replaced."""
    names = ("brightness", "saturation", "contrast", "y", "x", "hole_y", "hole_x")
    u = torch.full((count, 7), 0.5)
    for name, value in values.items():
        u[:, names.index(name)] = value
    return u


def test_middle_of_every_colour_range_changes_nothing() -> None:
    torch.testing.assert_close(diffaug(images(), ["color"], neutral(64)), images())


def test_colour_ranges_are_those_of_the_paper() -> None:
    x = images(4)
    low = diffaug(x, ["color"], neutral(4, brightness=0.0))
    torch.testing.assert_close(low, x - 0.5)
    grey = diffaug(x, ["color"], neutral(4, saturation=0.0))
    torch.testing.assert_close(grey, x.mean(1, keepdim=True).expand_as(x))
    vivid = diffaug(x, ["color"], neutral(4, saturation=1.0))
    torch.testing.assert_close(vivid - x, x - x.mean(1, keepdim=True))
    mean = x.mean((1, 2, 3), keepdim=True)
    flat = diffaug(x, ["color"], neutral(4, contrast=0.0))
    torch.testing.assert_close(flat - mean, (x - mean) / 2)
    hard = diffaug(x, ["color"], neutral(4, contrast=1.0))
    torch.testing.assert_close(hard - mean, (x - mean) * 1.5)


@pytest.mark.parametrize(("size", "most"), [(8, 1), (32, 4)])
def test_translation_is_a_shift_by_an_eighth_at_most(size: int, most: int) -> None:
    x = images(1200, size, 1)
    moved = diffaug(x, ["translation"], draws(1200))
    seen = set()
    for before, after in zip(x[:, 0], moved[:, 0], strict=True):
        padded = torch.nn.functional.pad(before, (most, most, most, most))
        fits = [
            (dy, dx)
            for dy in range(-most, most + 1)
            for dx in range(-most, most + 1)
            if padded[most - dy : most - dy + size, most - dx : most - dx + size].equal(after)
        ]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) == (2 * most + 1) ** 2


@pytest.mark.parametrize("size", [8, 7])
def test_cutout_blanks_a_square_of_half_the_side_and_nothing_else(size: int) -> None:
    x = torch.ones(500, 2, size, size)
    cut = diffaug(x, ["cutout"], draws(500))
    side = int(size / 2 + 0.5)
    areas = set()
    for image in cut:
        assert image[0].equal(image[1])
        rows, columns = (image[0] == 0).any(1), (image[0] == 0).any(0)
        assert (image[0] == 0).equal(rows[:, None] & columns[None])
        for line in (rows, columns):  # without gaps
            assert (line.int().diff() != 0).sum() <= 2 and 1 <= line.sum() <= side
        areas.add((int(rows.sum()), int(columns.sum())))
    assert (side, side) in areas and (side // 2, side) in areas


def test_parts_are_independent_of_one_another() -> None:
    x, u = images(), draws()
    whole = diffaug(x, PARTS, u)
    step = diffaug(diffaug(diffaug(x, ["color"], u), ["translation"], u), ["cutout"], u)
    assert whole.equal(step)
    assert diffaug(x, [], u).equal(x)


def test_diffaug_is_differentiable() -> None:
    x = images(4, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: diffaug(x, PARTS, draws(4).double()), x)


def test_nine_inputs_are_zero_for_no_change() -> None:
    assert augmentation_inputs(torch.zeros(3, 8)).equal(torch.zeros(3, 9))
    a = draw_geometry(500, 0.0, torch.Generator().manual_seed(0))
    inputs = augmentation_inputs(a)
    assert set(inputs[:, 0].tolist()) == {0, 1}  # mirroring is for every image
    assert not inputs[:, 1:].any()


def test_nine_inputs_are_those_of_the_appendix() -> None:
    a = [1.0, 0.0, -0.3, math.pi / 2, math.pi / 3, 2.0, 0.4, -0.5]
    found = augmentation_inputs(torch.tensor([a]))[0].tolist()
    expected = [1, 0, -0.3, -1, 1, 1, math.sqrt(3), 0.4, -0.5]
    assert found == pytest.approx(expected, abs=1e-6)


def test_parameters_have_their_distributions() -> None:
    a = draw_geometry(20_000, 0.5, torch.Generator().manual_seed(0))
    assert a.shape == (20_000, 8)
    assert stats.binomtest(int(a[:, 0].sum()), 20_000, 0.5).pvalue > 0.001
    assert stats.binomtest(int(a[:, 1].sum()), 20_000, 0.25).pvalue > 0.001
    for normal in (2, 5, 6, 7):
        values = a[:, normal][a[:, normal] != 0]
        assert stats.binomtest(len(values), 20_000, 0.5).pvalue > 0.001
        assert stats.kstest(values.numpy(), "norm").pvalue > 0.001
    for angle in (3, 4):
        values = a[:, angle][a[:, angle] != 0].numpy()
        assert stats.kstest(values, "uniform", (-math.pi, 2 * math.pi)).pvalue > 0.001
    for first, second in ((4, 5), (6, 7)):  # drawn together
        assert ((a[:, first] != 0) == (a[:, second] != 0)).all()
    rotated, scaled = a[:, 3] != 0, a[:, 2] != 0
    assert stats.binomtest(int((rotated & scaled).sum()), 20_000, 0.25).pvalue > 0.001


def parameters(**values: float) -> Tensor:
    a = torch.zeros(4, 8)
    for name, value in values.items():
        a[:, int(name[1:])] = value
    return a


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        (parameters(), images(4, 16)),
        (parameters(a0=1), images(4, 16).flip(3)),
        (parameters(a1=1), images(4, 16).flip(2)),
        (parameters(a0=1, a1=1), images(4, 16).rot90(2, (2, 3))),
        (parameters(a3=math.pi), images(4, 16).rot90(2, (2, 3))),
        (parameters(a3=math.pi / 2), images(4, 16).rot90(1, (2, 3))),
        (parameters(a4=0.7), images(4, 16)),
    ],
)
def test_symmetries_of_the_square_move_pixels_exactly(a: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(transform(images(4, 16), a), expected, atol=1e-4, rtol=0)


def test_translation_moves_right_and_down_by_eighths() -> None:
    x = images(4, 16)
    moved = transform(x, parameters(a6=1, a7=-2))  # 2 pixels right, 4 up
    torch.testing.assert_close(moved[:, :, :12, 2:], x[:, :, 4:, :14], atol=1e-4, rtol=0)


def blob(width: float, height: float, angle: float = 0.0) -> Tensor:
    """A Gaussian blob, its axes turned clockwise by `angle` as seen in the image."""
    place = (torch.arange(64) + 0.5) / 32 - 1
    y, x = torch.meshgrid(place, place, indexing="ij")
    along = x * math.cos(angle) + y * math.sin(angle)
    across = -x * math.sin(angle) + y * math.cos(angle)
    return torch.exp(-((along / width) ** 2) - (across / height) ** 2).expand(4, 1, 64, 64)


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        (parameters(a2=1), blob(0.2 * 2**0.2, 0.2 * 2**0.2)),
        (parameters(a2=-2), blob(0.2 * 2**-0.4, 0.2 * 2**-0.4)),
        (parameters(a5=2), blob(0.2 * 2**0.4, 0.2 * 2**-0.4)),
        (parameters(a4=math.pi / 2, a5=2), blob(0.2 * 2**-0.4, 0.2 * 2**0.4)),
        (parameters(a4=0.5, a5=2), blob(0.2 * 2**0.4, 0.2 * 2**-0.4, 0.5)),
        (parameters(a3=0.9, a4=0.5, a5=2), blob(0.2 * 2**0.4, 0.2 * 2**-0.4, 0.5)),
    ],
)
def test_scale_and_anisotropy_stretch_by_powers_of_the_fifth_root(
    a: Tensor, expected: Tensor
) -> None:
    found = transform(blob(0.2, 0.2), a)
    middle = (..., slice(16, 48), slice(16, 48))  # away from the mirrored edges
    torch.testing.assert_close(found[middle], expected[middle], atol=0.02, rtol=0)


def test_augmentation_depends_on_seed_and_position_alone() -> None:
    config = AugmentationConfig(diffaug=PARTS, conditional_probability=0.5)
    first, inputs = augmented(config, images(), 64, 3, 640)
    again, inputs_again = augmented(config, images(), 64, 3, 640)
    other, _ = augmented(config, images(), 64, 3, 704)
    assert inputs is not None and inputs.shape == (64, 9) and inputs.equal(inputs_again)  # type: ignore[arg-type]
    assert first.equal(again) and not first.equal(other)


def test_no_augmentation_is_the_identity() -> None:
    found, inputs = augmented(AugmentationConfig(), images(), 64, 0, 0)
    assert found.equal(images()) and inputs is None


def test_colour_on_grey_images_is_refused_by_name() -> None:
    message = r"color, cutout on grey .* saturation .* allowed: translation, cutout"
    with pytest.raises(ValueError, match=message):
        check_augmentation_fits(AugmentationConfig(diffaug=("color", "cutout")), 1)
    check_augmentation_fits(AugmentationConfig(diffaug=("color", "cutout")), 3)
    check_augmentation_fits(AugmentationConfig(diffaug=("translation", "cutout")), 1)
