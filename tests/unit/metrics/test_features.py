import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from diffrop.config import EvaluationConfig
from diffrop.data import LabelledImages
from diffrop.metrics.extractors import make_extractor
from diffrop.metrics.features import FeatureExtractor, cached_features
from tests.made.small import RowBrightness, pixel_extractor

CPU = torch.device("cpu")


def test_features_are_cached_by_content(
    digits: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cached_features(pixel_extractor(), digits, tmp_path, CPU)
    counted: list[int] = []
    forward = RowBrightness.forward
    monkeypatch.setattr(
        RowBrightness, "forward", lambda self, x: counted.append(len(x)) or forward(self, x)
    )
    torch.testing.assert_close(cached_features(pixel_extractor(), digits, tmp_path, CPU), first)
    assert sum(counted) == 8  # the check of the cache alone
    other = digits.subset(torch.arange(10))
    assert len(cached_features(pixel_extractor(), other, tmp_path, CPU)) == 10
    assert sum(counted) == 18


def test_changed_weights_or_code_are_noticed_under_the_same_name(
    digits: LabelledImages, tmp_path: Path
) -> None:
    class Scaled(nn.Module):
        def __init__(self, weight: float, code: float) -> None:
            super().__init__()
            self.weight, self.code = nn.Parameter(torch.tensor(float(weight))), code

        def forward(self, images: Tensor) -> Tensor:
            return images.float().mean(dim=(1, 3)) * self.weight * self.code

    def mean(weight: float, code: float) -> float:
        extractor = FeatureExtractor(Scaled(weight, code), "scaled")
        return float(cached_features(extractor, digits, tmp_path, CPU).mean())

    once = mean(1, 1)
    assert mean(2, 1) == pytest.approx(2 * once)
    assert mean(1, 3) == pytest.approx(3 * once)
    assert mean(1, 1) == pytest.approx(once)


def test_precision_stands_in_the_name_and_shifts_features_little(digits: LabelledImages) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), _Float(), nn.Linear(64, 16))
    strict = FeatureExtractor(network, "linear").extract(digits.images[:50])
    fast = FeatureExtractor(network, "linear", precision="bf16").extract(digits.images[:50])
    assert (strict.extractor, fast.extractor) == ("linear", "linear-bf16")
    assert not torch.equal(strict.features, fast.features)
    torch.testing.assert_close(fast.features, strict.features, rtol=0.05, atol=0.05)
    assert fast.features.dtype == torch.float32


class _Float(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float() / 255


def test_a_network_of_ones_own_is_named_by_its_import_path(
    digits: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_networks.py").write_text(
        "import torch\n"
        "def brightness():\n"
        "    class Brightness(torch.nn.Module):\n"
        "        def forward(self, images):\n"
        "            return images.float().mean(dim=(1, 3))\n"
        "    return Brightness()\n"
        "def nothing():\n"
        "    return None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name: str) -> FeatureExtractor:
        config = EvaluationConfig(extractor=name)
        return make_extractor(config, digits, "digits", tmp_path, trusted=True)

    extractor = make("my_networks:brightness")
    assert extractor.name == "my_networks:brightness"
    expected = pixel_extractor().extract(digits.images[:5]).features
    assert torch.equal(extractor.extract(digits.images[:5]).features, expected)
    with pytest.raises(ValueError, match=r"returned a NoneType; allowed: a torch.nn.Module"):
        make("my_networks:nothing")
    with pytest.raises(ValueError, match=r"cannot be imported.*PYTHONPATH"):
        make("my_networks:absent")
    own = EvaluationConfig(extractor="my_networks:brightness", extractor_weights="weights.pth")
    with pytest.raises(ValueError, match=r"my_networks:brightness cannot use; allowed with: inc"):
        make_extractor(own, digits, "digits", tmp_path, trusted=True)
    with pytest.raises(ValueError, match=r"extractor is 'vgg'; allowed: classifier, inception"):
        make("vgg")
    sys.modules.pop("my_networks", None)
