import pytest
import torch
from torch import nn

from diffrop.baselines.gan_networks import (
    ConditionalBatchNorm,
    Discriminator,
    Generator,
    num_doublings,
)

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("num_classes", [1, 5])
def test_networks_fit_every_image_size(shape: tuple[int, int, int], num_classes: int) -> None:
    labels = torch.arange(3) % num_classes
    images = Generator(8, 6, num_classes, shape)(torch.randn(3, 6), labels)
    assert images.shape == (3, *shape)
    assert images.abs().max() <= 1
    assert Discriminator(8, num_classes, shape)(images, labels).shape == (3,)


@pytest.mark.parametrize("shape", [(1, 9, 9), (1, 4, 4), (3, 32, 16), (1, 6, 6)])
def test_images_that_no_doubling_reaches_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="allowed: square, with a height of 4 to 7 pixels times"):
        num_doublings(shape)


def test_projection_adds_the_inner_product_with_the_label_embedding() -> None:
    network = Discriminator(8, 3, (1, 8, 8)).eval()
    x = torch.randn(4, 1, 8, 8)
    assert network.embedding is not None
    features = network.blocks(x).relu().sum((2, 3))
    logits = [network(x, torch.full((4,), label)) for label in range(3)]
    for label in (1, 2):
        shift = features @ (network.embedding.weight[label] - network.embedding.weight[0])
        torch.testing.assert_close(logits[label] - logits[0], shift, atol=1e-5, rtol=1e-4)


def test_every_layer_of_the_discriminator_has_spectral_norm_one() -> None:
    network = Discriminator(8, 3, (1, 8, 8))
    x = torch.randn(4, 1, 8, 8)
    for _ in range(100):  # the norm is found by power iteration, one step a pass
        network(x, torch.zeros(4, dtype=torch.int64))
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]
    for layer in layers:
        norm = torch.linalg.svdvals(layer.weight.flatten(1))[0].item()
        assert norm == pytest.approx(1, abs=1e-2)


def test_one_class_is_ordinary_batch_normalisation() -> None:
    layer, ordinary = ConditionalBatchNorm(4, 1), nn.BatchNorm2d(4)
    x = torch.randn(6, 4, 5, 5)
    labels = torch.zeros(6, dtype=torch.int64)
    torch.testing.assert_close(layer(x, labels), ordinary(x))
