import torch

from diffrop.metrics.interval import LEVEL, Interval
from diffrop.metrics.intervals import influence_interval


def test_plain_data_gives_the_interval_back() -> None:
    interval = influence_interval(3.0, torch.tensor([0.0, 1.0, 2.0]))
    assert interval.level == LEVEL and interval.low < 3.0 < interval.high
    assert Interval(**interval.to_dict()) == interval
