import copy
import functools
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffrop.models import unet
from diffrop.models.compiled import (
    compile_checked,
    compile_function_checked,
    dropout_off,
    gradient_distances,
)
from diffrop.models.precision import working_copy
from diffrop.models.unet import Dropout, UNet
from tests.made.graphs import trace_without_code


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


@pytest.mark.parametrize(("scale", "agrees"), [(1 + 2**-8, True), (1.05, False)])
def test_gradient_in_bf16_may_be_rounded_the_other_way_and_no_more(
    scale: float, agrees: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def squares(x: Tensor, factor: float = 1.0) -> tuple[Tensor, ...]:
        wide = x.float()
        if wide.requires_grad:
            wide.register_hook(lambda gradient: gradient * factor)
        return (wide.square().sum(),)

    def compiled(function: object, **options: object) -> functools.partial[tuple[Tensor, ...]]:
        return functools.partial(squares, factor=scale)

    monkeypatch.setattr(torch, "compile", compiled)
    x = torch.linspace(0.5, 1.0, 101).to(torch.bfloat16)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = compile_function_checked(squares, [x], [])
    assert (found is not squares) is agrees
    assert [("not the eager ones" in str(w.message)) for w in caught] == [True] * (not agrees)


def test_distances_are_relative_to_a_tensor_or_to_a_share_of_the_whole() -> None:
    expected = [torch.tensor([3.0, 4.0]), torch.tensor([1e-6])]
    found = [torch.tensor([3.0, 4.5]), torch.tensor([2e-6])]
    whole, each = gradient_distances(found, expected, floor=1e-3)
    assert whole == pytest.approx(0.1)
    assert each == pytest.approx([0.1, 2e-4], rel=1e-2)
    assert gradient_distances([torch.tensor([torch.nan])], [torch.ones(1)], 0.1)[0] == torch.inf
