import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmarks.stand_in import ActedCapture, ActedGraph
from diffrop.config import DiffusionConfig, ModelConfig, Precision, SamplingConfig
from diffrop.diffusion import denoiser
from diffrop.diffusion.denoiser import FastDenoiser
from diffrop.diffusion.sampling import sample
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.models.unet import UNet

TINY = ModelConfig(
    base_channels=8, channel_multipliers=(1,), num_res_blocks=1, attention_resolutions=()
)
BATCH = 6


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilation has its own tests."""
    monkeypatch.setattr(denoiser, "compile_checked", lambda network, model, inputs: network)


def model(seed: int) -> UNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = UNet(TINY, 3, (1, 4, 4)).eval().requires_grad_(False)
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return network


def inputs(count: int) -> tuple[Tensor, Tensor, Tensor]:
    x_t = torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(count))
    return x_t, torch.arange(count) * 50, torch.arange(count) % 4


@pytest.mark.parametrize("count", [1, 5, 6, 7, 12, 13])
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 2e-2)])
def test_batches_of_any_size_get_the_models_noise(
    count: int, recorded: bool, precision: Precision, tolerance: float
) -> None:
    network = model(0)
    fast = FastDenoiser(network, precision, BATCH, ActedCapture() if recorded else None)
    evaluated = fast.of(network)
    for _ in range(3):
        found = evaluated(*inputs(count))
        expected = network(*inputs(count))
        assert found.dtype == torch.float32 and found.shape == expected.shape
        assert (found - expected).norm() <= tolerance * expected.norm()


def test_each_size_is_recorded_once_and_filled_up() -> None:
    network, capture = model(0), ActedCapture()
    evaluated = FastDenoiser(network, "fp32", BATCH, capture).of(network)
    for count in (6, 12, 3, 10, 6):
        evaluated(*inputs(count))
    assert len(capture.graphs) == 2


def test_results_outlive_the_next_evaluation() -> None:
    network = model(0)
    evaluated = FastDenoiser(network, "fp32", BATCH, ActedCapture()).of(network)
    first = evaluated(*inputs(6))
    kept = first.clone()
    evaluated(*inputs(5))
    assert first.equal(kept)


def test_models_share_what_was_recorded_and_keep_their_weights() -> None:
    first, second, capture = model(0), model(1), ActedCapture()
    fast = FastDenoiser(first, "fp32", BATCH, capture)
    one, two = fast.of(first), fast.of(second)
    for evaluated, network in ((one, first), (two, second), (one, first)):
        torch.testing.assert_close(evaluated(*inputs(6)), network(*inputs(6)))
    first.load_state_dict(second.state_dict())  # training went on
    torch.testing.assert_close(fast.of(first)(*inputs(6)), second(*inputs(6)))
    assert len(capture.graphs) == 1


def test_samples_are_those_of_the_model() -> None:
    network = model(0)
    evaluated = FastDenoiser(network, "fp32", BATCH, ActedCapture()).of(network)
    config = SamplingConfig(num_steps=3)
    images = []
    for denoise in (network, evaluated):
        rng = torch.Generator().manual_seed(0)
        schedule = NoiseSchedule.linear(DiffusionConfig())
        labels = torch.arange(5) % 3
        images.append(sample(denoise, schedule, config, (1, 4, 4), labels, 1.5, 3, rng))
    torch.testing.assert_close(images[1], images[0], rtol=1e-4, atol=1e-4)


def test_compilation_that_failed_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def failing(network: nn.Module, model: nn.Module, inputs: tuple[Tensor, ...]) -> nn.Module:
        tried.append(len(inputs[0]))
        return network

    monkeypatch.setattr(denoiser, "compile_checked", failing)
    network = model(0)
    evaluated = FastDenoiser(network, "fp32", BATCH, None).of(network)
    for count in (12, 6, 3):
        torch.testing.assert_close(evaluated(*inputs(count)), network(*inputs(count)))
    assert tried == [2 * BATCH]


class StillGraph(ActedGraph):
    def replay(self) -> None:
        self.result.zero_()


class StillCapture(ActedCapture):
    graph_type = StillGraph


class BrokenCapture(ActedCapture):
    def record(self, work: Callable[[], Tensor]) -> tuple[ActedGraph, Tensor]:
        raise RuntimeError("no recording here")


@pytest.mark.parametrize(
    ("capture", "cause"), [(StillCapture(), "a replay is 1"), (BrokenCapture(), "no recording")]
)
def test_bad_recording_falls_back_with_one_warning(capture: ActedCapture, cause: str) -> None:
    network = model(0)
    evaluated = FastDenoiser(network, "fp32", BATCH, capture).of(network)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for count in (6, 12, 6):
            torch.testing.assert_close(evaluated(*inputs(count)), network(*inputs(count)))
    messages = [str(w.message) for w in caught if "capture failed" in str(w.message)]
    assert len(messages) == 1 and cause in messages[0]
