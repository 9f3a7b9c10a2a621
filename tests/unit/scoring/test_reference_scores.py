import torch

from diffrop.scoring.reference_scores import _in_proportion


def test_every_prefix_holds_each_class_in_its_proportion() -> None:
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 3)[torch.randperm(93)]
    order = _in_proportion(labels, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(93))
    half = torch.bincount(labels[order[:46]], minlength=3)
    assert half.tolist()[:2] in ([30, 15], [30, 14], [29, 15]) and half[2] in (1, 2)
