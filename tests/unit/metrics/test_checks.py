import pytest
import torch

from diffrop.metrics.checks import check_features


def test_what_is_no_set_of_features_is_refused_by_name() -> None:
    check_features(torch.zeros(2, 3), "samples", at_least=2)
    with pytest.raises(ValueError, match=r"samples have the shape \(2,\); allowed: \(images"):
        check_features(torch.zeros(2), "samples")
    with pytest.raises(ValueError, match=r"samples are of 2 image\(s\); allowed: at least 3"):
        check_features(torch.zeros(2, 3), "samples", at_least=3)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="samples of image 1 are not finite"):
            check_features(torch.tensor([[0.0], [bad]]), "samples")
