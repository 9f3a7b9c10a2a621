import copy
import functools
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffrop.config import ModelConfig
from diffrop.models import unet
from diffrop.models.compiled import (
    compile_checked,
    compile_function_checked,
    dropout_off,
    gradient_distances,
)
from diffrop.models.precision import copy_each, copy_weights, working_copy
from diffrop.models.unet import Dropout, UNet, channelwise_group_norm
from tests.made.graphs import trace_without_code

TINY = ModelConfig(
    base_channels=8,
    channel_multipliers=(1,),
    num_res_blocks=1,
    attention_resolutions=(),
    dropout=0.3,
)


@pytest.fixture
def model() -> UNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet(TINY, 3, (1, 4, 4))
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    return network


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    x_t = torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    return x_t, torch.arange(40) * 20, torch.arange(40) % 4


@pytest.fixture(autouse=True)
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    trace_without_code(monkeypatch)


def caught_messages(network: nn.Module, model: nn.Module, inputs: tuple[Tensor, ...]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert compile_checked(network, model, inputs) is network
    return [str(w.message) for w in caught if "torch.compile failed" in str(w.message)]


def test_compiled_network_passes_its_check_and_keeps_its_dropout(
    model: UNet, inputs: tuple[Tensor, ...]
) -> None:
    network = working_copy(model, "bf16")
    compiled = compile_checked(network, model, inputs)
    assert compiled is not network
    assert not compiled(*inputs).equal(compiled(*inputs))
    with dropout_off(network):
        plain = copy.deepcopy(network).eval()(*inputs)
        assert (compiled(*inputs) - plain).norm() < 2e-2 * plain.norm()
    rates = [layer.rate.item() for layer in network.modules() if isinstance(layer, Dropout)]
    assert rates and all(rate == pytest.approx(0.3) for rate in rates)


def test_network_for_sampling_is_checked_without_gradients(
    model: UNet, inputs: tuple[Tensor, ...]
) -> None:
    network = working_copy(model, "bf16").eval().requires_grad_(False)
    compiled = compile_checked(network, model.eval(), inputs)
    assert compiled is not network and not compiled(*inputs).requires_grad


def test_wrong_gradient_of_one_layer_is_noticed(
    model: UNet, inputs: tuple[Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_weight_gradient(norm: nn.GroupNorm, x: Tensor) -> Tensor:
        y = F.group_norm(x, norm.num_groups, norm.weight.detach(), norm.bias, norm.eps)
        return y + 0 * norm.weight.sum()

    monkeypatch.setattr(unet, "channelwise_group_norm", without_weight_gradient)
    (message,) = caught_messages(model, model, inputs)
    assert "from the eager ones" in message


def test_failing_compiler_is_named_once(
    model: UNet, inputs: tuple[Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: object, arguments: object) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=broken))
    (message,) = caught_messages(model, model, inputs)
    assert "no compiler here" in message


def test_function_is_compiled_without_a_trace_in_its_state() -> None:
    state = torch.zeros(())

    def function(x: Tensor) -> tuple[Tensor, ...]:
        state.add_(1)
        return x.square().sum() + state, state.clone()

    compiled = compile_function_checked(function, [torch.arange(3.0)], [state])
    assert compiled is not function
    assert state == 0


def test_distances_are_relative_to_a_tensor_or_to_a_share_of_the_whole() -> None:
    expected = [torch.tensor([3.0, 4.0]), torch.tensor([1e-6])]
    found = [torch.tensor([3.0, 4.5]), torch.tensor([2e-6])]
    whole, each = gradient_distances(found, expected, floor=1e-3)
    assert whole == pytest.approx(0.1)
    assert each == pytest.approx([0.1, 2e-4], rel=1e-2)
    assert gradient_distances([torch.tensor([torch.nan])], [torch.ones(1)], 0.1)[0] == torch.inf


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


def test_working_copy_follows_the_weights_and_keeps_sums_in_float32(model: UNet) -> None:
    network = working_copy(model, "bf16")
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1)
    copy_weights(network, model)
    expected = dict(model.named_parameters())
    for name, weight in network.named_parameters():
        assert weight.equal(expected[name].to(weight.dtype)) and weight.requires_grad
        low = (
            not name.startswith("label_embedding") and "norm" not in name and name[:6] != "head.0"
        )
        assert weight.dtype == (torch.bfloat16 if low else torch.float32), name
    assert network.state_dict().keys() == model.state_dict().keys()


def test_copies_of_mixed_dtypes_and_layouts_are_those_of_single_tensors() -> None:
    dtypes = (torch.float32, torch.bfloat16)
    layouts = (torch.contiguous_format, torch.channels_last)
    kinds = [(a, b, c, d) for a in dtypes for b in dtypes for c in layouts for d in layouts]
    sources = [torch.randn(3, 4, 5, 6).to(kind[0], memory_format=kind[2]) for kind in kinds]
    targets = [torch.empty(3, 4, 5, 6, dtype=b).to(memory_format=d) for _, b, _, d in kinds]
    layouts_before = [target.stride() for target in targets]
    copy_each(targets, sources)
    for target, source, layout in zip(targets, sources, layouts_before, strict=True):
        assert torch.equal(target, source.to(target.dtype)) and target.stride() == layout
