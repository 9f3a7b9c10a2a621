"""Guidance by a weaker model (Karras et al., 2024)."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from diffrop.config import WHOLE_RANGE, DiffusionConfig, GuidanceInterval, SamplerKind
from diffrop.config import SamplingConfig as Sampling
from diffrop.diffusion.sampling import Denoiser, guided_noise, num_guided_evaluations, sample
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.models.unet import UNet
from tests.made.small import small_experiment

KINDS = get_args(SamplerKind)
NULL, NUM_IMAGES, OMEGA = 3, 4, 1.5
DIFFUSION = DiffusionConfig(num_timesteps=40, beta_end=0.2)


class Recorder:
    """Noise that depends on every argument; counts the images of which it is asked."""

    def __init__(self, scale: float) -> None:
        self.scale, self.num_images, self.labels = scale, 0, set[int]()

    def __call__(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        self.num_images += len(x_t)
        self.labels |= set(labels.tolist())
        factor = self.scale * (1 + labels.to(x_t.dtype)) / (2 + t)
        return torch.sin(x_t) * factor.view(-1, 1, 1, 1) + 0.1 * x_t


def drawn(
    model: Denoiser,
    guide: Denoiser | None,
    kind: SamplerKind,
    omega: float = OMEGA,
    interval: GuidanceInterval = WHOLE_RANGE,
) -> Tensor:
    schedule = NoiseSchedule.linear(DIFFUSION)
    labels, generator = torch.arange(NUM_IMAGES) % NULL, torch.Generator().manual_seed(0)
    sampling = Sampling(sampler=kind, num_steps=7, clip=False, guidance_interval=interval)
    return sample(
        model, schedule, sampling, (1, 8, 8), labels, omega, NULL, generator, guide=guide
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("omega", [0.3, 2.0])
def test_guide_that_is_the_model_is_plain_conditional_sampling_to_the_bit(
    kind: SamplerKind, omega: float
) -> None:
    torch.manual_seed(0)
    network = UNet(small_experiment().model, NULL, (1, 8, 8)).eval()
    for weight in network.parameters():  # some begin as zeros
        weight.data += 0.1 * torch.randn_like(weight)
    plain = drawn(network, None, kind, omega=0.0)
    assert torch.equal(drawn(network, network, kind, omega), plain)
    assert not torch.equal(drawn(network, None, kind, omega), plain)


@pytest.mark.parametrize("kind", KINDS)
def test_guide_with_omega_0_is_none_and_is_not_evaluated(kind: SamplerKind) -> None:
    guide = Recorder(0.5)
    assert torch.equal(
        drawn(Recorder(1.0), guide, kind, omega=0.0), drawn(Recorder(1.0), None, kind, omega=0.0)
    )
    assert guide.num_images == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("interval", [WHOLE_RANGE, (0.25, 0.75)])
def test_guide_takes_the_place_of_the_null_label_where_omega_applies(
    kind: SamplerKind, interval: GuidanceInterval
) -> None:
    low, high = interval

    def by_hand(x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Karras et al. (2024), Eq. 4, with w = 1 + omega, as predictions of the noise."""
        strong, weak = Recorder(1.0)(x_t, t, labels), Recorder(0.5)(x_t, t, labels)
        w = 1 + OMEGA if low * 40 <= int(t[0]) < high * 40 else 1.0
        return w * strong + (1 - w) * weak

    model, guide = Recorder(1.0), Recorder(0.5)
    found = drawn(model, guide, kind, interval=interval)
    expected = drawn(by_hand, None, kind, omega=0.0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert guide.labels == model.labels == {0, 1, 2}  # no null label
    sampling = Sampling(sampler=kind, num_steps=7, guidance_interval=interval, guide=0.5)
    counted = (model.num_images + guide.num_images) / NUM_IMAGES
    assert counted == num_guided_evaluations(sampling, DIFFUSION, OMEGA)


def test_null_label_and_guide_follow_one_formula() -> None:
    x_t, t = torch.randn(NUM_IMAGES, 1, 4, 4), torch.full((NUM_IMAGES,), 7)
    labels = torch.arange(NUM_IMAGES) % NULL
    model = Recorder(1.0)

    def unlabelled(x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return model(x_t, t, torch.full_like(labels, NULL))

    ours = guided_noise(model, x_t, t, labels, OMEGA, NULL, unlabelled)
    torch.testing.assert_close(ours, guided_noise(model, x_t, t, labels, OMEGA, NULL))
