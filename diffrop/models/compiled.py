"""Compiled networks, checked once against the eager one before anything depends on them."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from diffrop.memory import is_out_of_memory
from diffrop.models.unet import Dropout

CHUNK = 32
"""Images that the eager reference takes at a time, so that it needs less memory than a step."""
TOLERANCES = {"bf16": (5e-2, 2e-1), "fp32": (1e-2, 5e-2)}
"""Bounds of the relative L2 distance of all gradients, and of each (see `gradient_distances`).
They let rounding pass, TF32's too; a layer with a wrong gradient is off by its own size."""
FLOOR = 1e-2

Network = Callable[..., Tensor]
Function = TypeVar("Function", bound=Callable[..., tuple[Tensor, ...]])


class DisagreementError(Exception):
    """A fast way of computing gave other numbers than the plain one; the message says which."""


def cause_of(error: Exception) -> str:
    """Return what a warning says of an error: the beginning of its message in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def compile_checked(network: nn.Module, model: nn.Module, inputs: Sequence[Tensor]) -> Network:
    """Return `network` compiled, or as it is, with one warning, if that fails or is wrong.

    Output and weight gradients of one batch are compared with those of the eager float32 model,
    in training without dropout, or in evaluation without gradients, as `network` is set.

    Args:
        network: what is compiled: `model` or its working copy, on the same device.
        model: holds the same weights in float32.
        inputs: x_t, t, labels and what else a batch has, of the shapes that will come.
    """
    compiled = torch.compile(network, fullgraph=True, dynamic=False)
    try:
        with dropout_off(network):
            check_network(compiled, network, model, inputs)
    except Exception as error:  # whatever stops a compiler must not stop a training
        if is_out_of_memory(error):
            raise
        _warn_of(error, "the network runs eagerly")
        return network
    return compiled


def compile_function_checked(
    function: Function, example: Sequence[Tensor], state: Sequence[Tensor] = ()
) -> Function:
    """Return a function of tensors compiled, or as it is, with one warning, if that fails.

    Args:
        function: returns scalars, of which the first is differentiated by the last argument.
        example: arguments of the shapes that will come.
        state: tensors that the function changes; they are restored.
    """
    compiled = cast(Function, torch.compile(function, fullgraph=True, dynamic=False))
    before = [tensor.clone() for tensor in state]

    def values_and_gradient(work: Function) -> list[Tensor]:
        *others, last = example
        last = last.detach().requires_grad_()
        try:
            values = work(*others, last)
        finally:
            for tensor, old in zip(state, before, strict=True):
                tensor.copy_(old)
        (gradient,) = torch.autograd.grad(values[0], last)
        return [*(value.detach() for value in values), gradient]

    try:
        found, expected = values_and_gradient(compiled), values_and_gradient(function)
        for ours, theirs in zip(found, expected, strict=True):
            # Two roundings of one value, of bf16 for example, lie up to its epsilon apart.
            tolerance = max(1e-3, 2 * torch.finfo(theirs.dtype).eps)
            most = theirs.abs().max().item()
            if not torch.allclose(ours, theirs, rtol=tolerance, atol=1e-3 * most):
                raise DisagreementError("values or gradients are not the eager ones")
    except Exception as error:  # as above
        if is_out_of_memory(error):
            raise
        _warn_of(error, "a loss is computed eagerly")
        return function
    return compiled


def check_network(
    compiled: Network, network: nn.Module, model: nn.Module, inputs: Sequence[Tensor]
) -> None:
    """Raise DisagreementError unless `compiled` does what the eager float32 model does."""
    low = any(weight.dtype == torch.bfloat16 for weight in network.parameters())
    whole, each = TOLERANCES["bf16" if low else "fp32"]
    if not network.training:
        with torch.no_grad():
            found = compiled(*inputs).float()
            expected = torch.cat([model(*part) for part in _chunks(inputs)])
        _require_close(found, expected, whole, "outputs")
        return
    x_t = inputs[0]
    generator = torch.Generator(x_t.device).manual_seed(0)
    cotangent = torch.randn(x_t.shape, generator=generator, device=x_t.device)
    output = compiled(*inputs)
    found_grads = _gradients(network, output, cotangent)
    outputs, expected_grads = [], [torch.zeros_like(weight) for weight in model.parameters()]
    for *part, direction in _chunks([*inputs, cotangent]):
        with evaluating(model):
            part_output = model(*part)
        torch._foreach_add_(expected_grads, _gradients(model, part_output, direction))
        outputs.append(part_output.detach())
    _require_close(output.detach().float(), torch.cat(outputs), whole, "outputs")
    distance, worst = gradient_distances(found_grads, expected_grads, FLOOR)
    if not (distance <= whole and max(worst) <= each):
        names = [name for name, _ in model.named_parameters()]
        index = worst.index(max(worst))
        raise DisagreementError(
            f"gradients are {distance:.2g} from the eager ones (allowed {whole:g}), those of "
            f"{names[index]} {worst[index]:.2g} (allowed {each:g})"
        )


def gradient_distances(
    found: Sequence[Tensor], expected: Sequence[Tensor], floor: float
) -> tuple[float, list[float]]:
    """Return the relative L2 distance of all gradients, and of each tensor's.

    A tensor's distance is relative to its own norm, or to `floor` times the norm of all if that
    is more: what hardly moves the network need not agree in every digit. NaN counts as infinite.
    """
    differences = torch.stack(
        [(a.to(b.dtype) - b).norm() for a, b in zip(found, expected, strict=True)]
    )
    norms = torch.stack([b.norm() for b in expected])
    scale = norms.norm()
    whole = differences.norm() / scale
    each = differences / norms.clamp(min=floor * scale)
    numbers = torch.cat([whole.view(1), each]).nan_to_num(nan=torch.inf).tolist()
    return numbers[0], numbers[1:]


@contextlib.contextmanager
def dropout_off(network: nn.Module) -> Iterator[None]:
    """Let a compiled network drop nothing; a change of mode would compile another."""
    layers = [module for module in network.modules() if isinstance(module, Dropout)]
    try:
        for layer in layers:
            layer.rate.fill_(0)
        yield
    finally:
        for layer in layers:
            layer.rate.fill_(layer.p)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and back into the mode it was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _warn_of(error: Exception, consequence: str) -> None:
    warnings.warn(f"torch.compile failed, {consequence}: {cause_of(error)}", stacklevel=3)


def _gradients(network: nn.Module, output: Tensor, cotangent: Tensor) -> list[Tensor]:
    direction = cotangent.to(output.dtype)
    return list(torch.autograd.grad(output, list(network.parameters()), direction))


def _chunks(tensors: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    return list(zip(*(tensor.split(CHUNK) for tensor in tensors), strict=True))


def _require_close(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    distance = ((found - expected).norm() / expected.norm()).item()
    if not distance <= tolerance:
        raise DisagreementError(
            f"{what} are {distance:.2g} from the eager ones (allowed {tolerance:g})"
        )
