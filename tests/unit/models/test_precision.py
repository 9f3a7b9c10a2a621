import torch

from diffrop.models.precision import copy_each, copy_weights, working_copy
from diffrop.models.unet import UNet


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
