import copy
import dataclasses

import pytest
import torch
from torch import nn

from diffrop.config import ModelConfig
from diffrop.models.unet import (
    Attention,
    UNet,
    channelwise_group_norm,
    group_norm,
    sinusoidal_embedding,
)

NUM_CLASSES = 3
TINY = ModelConfig(
    base_channels=8, channel_multipliers=(1, 2), num_res_blocks=1, attention_resolutions=(4,)
)


def build(config: ModelConfig, image_shape: tuple[int, int, int], seed: int = 0) -> UNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UNet(config, NUM_CLASSES, image_shape).eval()


def perturbed(model: UNet) -> UNet:
    """Move the weights away from the initialisation, where branches are all but closed."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


def inputs(
    image_shape: tuple[int, int, int], num_images: int = 2
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x_t = torch.randn(num_images, *image_shape, generator=torch.Generator().manual_seed(2))
    return x_t, torch.arange(num_images) * 37, torch.arange(num_images) % (NUM_CLASSES + 1)


@pytest.mark.parametrize("num_classes", [10, 100])
def test_paper_setting_has_the_published_number_of_parameters(num_classes: int) -> None:
    with torch.device("meta"):
        model = UNet(ModelConfig(), num_classes, (3, 32, 32))
    label = model.label_embedding.weight.numel()
    assert label == (num_classes + 1) * 512
    counts = [weight.numel() for weight in model.parameters() if weight.requires_grad]
    assert sum(counts) - label == 35_746_307


def test_paper_setting_attends_at_16_pixels_and_in_the_middle() -> None:
    with torch.device("meta"):
        model = UNet(ModelConfig(), 10, (3, 32, 32))
    channels = [
        module.project.in_channels for module in model.modules() if isinstance(module, Attention)
    ]
    # Two blocks down, one in the middle, three up; the second level is 256 wide.
    assert channels == [256] * 6


@pytest.mark.parametrize(
    ("multipliers", "image_shape"),
    [
        ((1,), (1, 8, 8)),
        ((1, 2), (1, 8, 8)),
        ((1, 2, 2, 2), (1, 8, 8)),
        ((1, 1, 2), (3, 12, 12)),
        ((1, 2, 2, 2), (3, 32, 32)),
        ((2, 1), (2, 6, 6)),
    ],
)
@pytest.mark.parametrize("base_channels", [8, 16, 24, 40])
def test_noise_has_the_shape_of_the_images(
    base_channels: int, multipliers: tuple[int, ...], image_shape: tuple[int, int, int]
) -> None:
    config = dataclasses.replace(
        TINY, base_channels=base_channels, channel_multipliers=multipliers
    )
    x_t, t, labels = inputs(image_shape)
    with torch.no_grad():
        eps = build(config, image_shape)(x_t, t, labels)
    assert eps.shape == x_t.shape
    assert eps.isfinite().all()


@pytest.mark.parametrize("num_res_blocks", [1, 2, 3])
@pytest.mark.parametrize("attention", [(), (8,), (4, 8), (2,)])
def test_depth_and_attention_may_vary(num_res_blocks: int, attention: tuple[int, ...]) -> None:
    config = dataclasses.replace(
        TINY, num_res_blocks=num_res_blocks, attention_resolutions=attention
    )
    x_t, t, labels = inputs((1, 8, 8))
    model = build(config, (1, 8, 8))
    with torch.no_grad():
        assert model(x_t, t, labels).shape == x_t.shape
    num_attentions = sum(isinstance(module, Attention) for module in model.modules())
    levels_attending = len({4, 8} & set(attention))
    assert num_attentions == 1 + levels_attending * (2 * num_res_blocks + 1)


@pytest.mark.parametrize(
    ("image_shape", "multipliers"),
    [((3, 30, 30), (1, 2, 2)), ((1, 8, 4), (1, 2)), ((1, 7, 7), (1, 2)), ((1, 8, 8), (1,) * 5)],
)
def test_images_that_cannot_be_halved_are_refused(
    image_shape: tuple[int, int, int], multipliers: tuple[int, ...]
) -> None:
    config = dataclasses.replace(TINY, channel_multipliers=multipliers)
    allowed = f"allowed: square, divisible by {2 ** (len(multipliers) - 1)}"
    with pytest.raises(ValueError, match=allowed) as error:
        UNet(config, NUM_CLASSES, image_shape)
    assert f"{image_shape[1]}x{image_shape[2]}" in str(error.value)
    assert str(list(multipliers)) in str(error.value)


@pytest.mark.parametrize("image_shape", [(1, 8, 8), (3, 16, 16)])
def test_gradient_reaches_every_parameter(image_shape: tuple[int, int, int]) -> None:
    model = perturbed(build(TINY, image_shape))
    x_t, t, labels = inputs(image_shape, num_images=NUM_CLASSES + 1)
    model(x_t, t, labels).square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().max() > 1e-6, name


def test_gradient_is_not_zero_at_initialisation_either() -> None:
    model = build(TINY, (1, 8, 8)).train()
    x_t, t, labels = inputs((1, 8, 8))
    (model(x_t, t, labels) - x_t).square().mean().backward()
    assert all((weight.grad != 0).any() for weight in model.head.parameters())
    assert (model.stem.weight.grad != 0).any()


def test_label_changes_the_output() -> None:
    model = perturbed(build(TINY, (1, 8, 8)))
    x_t, t, _ = inputs((1, 8, 8), num_images=1)
    with torch.no_grad():
        outputs = [model(x_t, t, torch.tensor([label])) for label in range(NUM_CLASSES + 1)]
    for first in range(NUM_CLASSES + 1):
        for second in range(first):
            assert (outputs[first] - outputs[second]).abs().max() > 1e-3


@pytest.mark.parametrize(("t", "other"), [(0, 1), (0, 999), (500, 501)])
def test_timestep_changes_the_output(t: int, other: int) -> None:
    model = perturbed(build(TINY, (1, 8, 8)))
    x_t, _, labels = inputs((1, 8, 8), num_images=1)
    with torch.no_grad():
        change = model(x_t, torch.tensor([t]), labels) - model(x_t, torch.tensor([other]), labels)
    assert change.abs().max() > 1e-4


def test_images_of_a_batch_do_not_influence_each_other() -> None:
    model = perturbed(build(TINY, (1, 8, 8)))
    x_t, t, labels = inputs((1, 8, 8), num_images=3)
    with torch.no_grad():
        whole = model(x_t, t, labels)
        singly = [model(x_t[i : i + 1], t[i : i + 1], labels[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(whole, torch.cat(singly), rtol=1e-4, atol=1e-5)


def test_untrained_network_predicts_almost_no_noise() -> None:
    x_t, t, labels = inputs((1, 8, 8))
    with torch.no_grad():
        assert build(TINY, (1, 8, 8))(x_t, t, labels).abs().max() < 1e-3


def test_dropout_acts_in_training_only() -> None:
    model = perturbed(build(dataclasses.replace(TINY, dropout=0.5), (1, 8, 8)))
    arguments = inputs((1, 8, 8))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        assert torch.equal(model(*arguments), model(*arguments))
        model.train()
        assert not torch.equal(model(*arguments), model(*arguments))


def test_attention_equals_softmax_over_positions() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = Attention(8).double()
        nn.init.normal_(layer.norm.weight)
        x = torch.randn(2, 8, 3, 3, dtype=torch.float64)
    with torch.no_grad():
        q, k, v = layer.qkv(layer.norm(x)).flatten(2).chunk(3, dim=1)
        weights = torch.softmax(torch.einsum("bci,bcj->bij", q, k) / 8**0.5, dim=-1)
        mixed = torch.einsum("bij,bcj->bci", weights, v).view_as(x)
        torch.testing.assert_close(layer(x), x + layer.project(mixed))


@pytest.mark.parametrize(
    ("channels", "groups"), [(128, 32), (256, 32), (384, 32), (512, 32), (8, 2), (24, 6), (40, 10)]
)
def test_group_norm_has_32_groups_or_at_least_four_channels_each(
    channels: int, groups: int
) -> None:
    assert group_norm(channels).num_groups == groups


def test_sinusoidal_embedding_has_sines_then_cosines_of_falling_rates() -> None:
    t = torch.tensor([0, 1, 500, 999])
    found = sinusoidal_embedding(t, 6)
    rates = [1.0, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3)]
    angle = t.double()[:, None] * torch.tensor(rates, dtype=torch.float64)
    assert found.dtype == torch.float32
    exact = torch.cat([angle.sin(), angle.cos()], dim=1)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-4)


def test_augmentation_inputs_add_one_bias_free_layer_and_zeros_change_nothing() -> None:
    plain = build(TINY, (1, 8, 8))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = perturbed(UNet(TINY, NUM_CLASSES, (1, 8, 8), num_augmentation_inputs=9).eval())
    extra = sum(p.numel() for p in network.parameters()) - sum(
        p.numel() for p in plain.parameters()
    )
    assert extra == 9 * 4 * TINY.base_channels
    arguments = inputs((1, 8, 8))
    count = len(arguments[0])
    with torch.no_grad():
        without = network(*arguments)
        torch.testing.assert_close(network(*arguments, torch.zeros(count, 9)), without)
        assert not torch.allclose(network(*arguments, torch.ones(count, 9)), without)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_channelwise_group_norm_is_group_norm(
    memory_format: torch.memory_format, shift: float
) -> None:
    rng = torch.Generator().manual_seed(0)
    norm = nn.GroupNorm(3, 12).double()
    for weight in norm.parameters():
        nn.init.normal_(weight, generator=rng)
    x = torch.randn(5, 12, 4, 4, generator=rng, dtype=torch.float64) + shift
    x = x.to(memory_format=memory_format).requires_grad_()
    direction = torch.randn(x.shape, generator=rng, dtype=torch.float64)
    results = []
    for output in (norm(x), channelwise_group_norm(norm, x)):
        grads = torch.autograd.grad(output, [x, *norm.parameters()], direction)
        results.append((output, *grads))
    for ours, exact in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-9, atol=1e-9)


def test_float32_group_norm_survives_a_mean_far_from_zero() -> None:
    norm, rng = nn.GroupNorm(2, 8), torch.Generator().manual_seed(0)
    x = torch.randn(4, 8, 16, 16, generator=rng) + 100
    exact = copy.deepcopy(norm).double()(x.double())
    found = channelwise_group_norm(norm, x)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-4)
