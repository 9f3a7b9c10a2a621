import re
from pathlib import Path

import pytest
import torch
from torch import nn

from diffrop.config import EvaluationConfig
from diffrop.data import LabelledImages
from diffrop.extras import install_command
from diffrop.metrics.extractors import check_extractor, make_extractor
from diffrop.metrics.features import FeatureExtractor

IMAGES = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)


def made(digits: LabelledImages, cache: Path, name: str, weights: str | None) -> FeatureExtractor:
    config = EvaluationConfig(extractor=name, extractor_weights=weights)
    return make_extractor(config, digits, "digits", cache, trusted=True)


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
    assert found.extractor == "dinov2-vit-b-14-tf1-bilinear"
    with pytest.raises(ValueError, match=r"dinov2-vit-b-14 cannot use; allowed with: inception"):
        made(digits, tmp_path, "dinov2-vit-b-14", "weights.pth")


def planted_extractor() -> nn.Module:
    """A factory whose call shows: it is named in files by the tests below."""
    CALLED.append("planted")
    return nn.Flatten()


CALLED: list[str] = []
PLANTED = f"{__name__}:planted_extractor"


def test_factory_is_called_only_where_it_is_trusted(
    digits: LabelledImages, tmp_path: Path
) -> None:
    config = EvaluationConfig(extractor=PLANTED)
    with pytest.raises(ValueError, match=r"which a file names, is code.*--trust-code"):
        make_extractor(config, digits, "digits", tmp_path)
    (tmp_path / "on_import.py").write_text("raise SystemExit('imported')")
    for name in ("os:abort", "on_import:x", "..x:y", "json:nothing"):
        with pytest.raises(ValueError, match="which a file names, is code"):
            check_extractor(name)
    assert CALLED == []
    assert make_extractor(config, digits, "digits", tmp_path, trusted=True).name == PLANTED
    assert CALLED.pop() == "planted"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("..x:y", "allowed: package.module:factory"),
        (":", "allowed: package.module:factory"),
        ("a b:c", "allowed: package.module:factory"),
        ("json:", "allowed: package.module:factory"),
        ("json:nothing", "cannot be imported .*no attribute"),
        ("nothing:x", "cannot be imported .No module named"),
        ("json:decoder", "is no function"),
        ("math:sqrt", "failed .*takes exactly one argument"),
    ],
)
def test_factory_that_cannot_be_used_is_named_in_one_sentence(
    digits: LabelledImages, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make_extractor(EvaluationConfig(extractor=name), digits, "digits", tmp_path, trusted=True)
    assert "\n" not in str(error.value)


def test_efficientnet_is_optional(
    digits: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ValueError, match=re.escape(install_command("efficientnet"))):
        made(digits, tmp_path, "efficientnet-lite0", None)
