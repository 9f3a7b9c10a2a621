"""The networks that come from elsewhere, on random weights in the format of the real files."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from diffrop.config import EvaluationConfig
from diffrop.data import LabelledImages
from diffrop.metrics.extractor_networks import Inception
from diffrop.metrics.extractors import make_extractor
from diffrop.metrics.features import FeatureExtractor
from tests.made.checkpoints import Payload

IMAGES = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)


def made(digits: LabelledImages, cache: Path, name: str, weights: str | None) -> FeatureExtractor:
    config = EvaluationConfig(extractor=name, extractor_weights=weights)
    return make_extractor(config, digits, "digits", cache)


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torch_fidelity import feature_extractor_inceptionv3 as module

    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    network = module.FeatureExtractorInceptionV3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *args, **options: {})
        patch.setattr(network, "load_state_dict", lambda self, state: None)
        torch.save(network("inception-v3-compat", ["2048"]).state_dict(), path)
    return path


def test_inception_gives_torch_fidelitys_features_and_logits_in_one_pass(
    inception_weights: Path, digits: LabelledImages, tmp_path: Path
) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    extractor = made(digits, tmp_path, "inception-v3-compat", str(inception_weights))
    theirs = FeatureExtractorInceptionV3(
        "x", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(inception_weights)
    )
    digest = hashlib.sha256(inception_weights.read_bytes()).hexdigest()
    assert extractor.name == f"inception-v3-compat-{digest[:8]}"  # not the published weights
    found = extractor.extract(IMAGES)
    features, logits = theirs(IMAGES)
    torch.testing.assert_close(found.features, features)
    torch.testing.assert_close(found.logits, logits)
    assert found.predictions is None  # its classes are ImageNet's
    grey = extractor.extract(IMAGES[:, :1]).features
    torch.testing.assert_close(grey, theirs(IMAGES[:, :1].repeat(1, 3, 1, 1))[0])


def test_weights_with_code_in_them_are_refused_and_not_run(
    digits: LabelledImages, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": Payload(tmp_path / "ran")}, path)
    with pytest.raises(ValueError, match="cannot be loaded"):
        made(digits, tmp_path, "inception-v3-compat", str(path))
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        Inception(path)
    assert not (tmp_path / "ran").exists()


class SmallClip(nn.Module):
    """The tensors of a CLIP of one layer that are read: its image tower and a projection."""

    def __init__(self) -> None:
        from torch_fidelity.feature_extractor_clip import CLIPVisual

        super().__init__()
        self.visual = CLIPVisual(16, 32, 1, 64, 16).visual
        self.text_projection = nn.Parameter(torch.zeros(8, 16))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x


class Planted(nn.Module):
    """TorchScript that makes a file when it is loaded."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        made = torch.from_file(self.path, shared=True, size=4)
        self.training = state[1] and made.numel() == 4


@pytest.mark.parametrize("name", ["clip-vit-b-32", "inception-v3-compat"])
def test_torchscript_that_was_not_published_is_refused_and_not_run(
    digits: LabelledImages, tmp_path: Path, name: str
) -> None:
    path, mark = tmp_path / "weights.pt", tmp_path / "ran"
    torch.jit.save(torch.jit.script(Planted(str(mark))), str(path))
    torch.jit.load(str(path))
    assert mark.exists()  # the archive does what it is made for
    mark.unlink()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for weights in (str(path), f"{path.as_uri()}#sha256={digest}"):
        with pytest.raises(ValueError, match=r"allowed: the published|cannot be loaded"):
            made(digits, tmp_path / "cache", name, weights)
    assert not mark.exists()


def test_clip_gives_torch_fidelitys_features(
    digits: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA, FeatureExtractorCLIP

    path = tmp_path / "clip.pt"
    torch.jit.save(torch.jit.trace(SmallClip(), torch.zeros(1)), str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(MODEL_METADATA["clip-vit-b-32"], "hash", digest)
    found = made(digits, tmp_path, "clip-vit-b-32", str(path)).extract(IMAGES)
    theirs = FeatureExtractorCLIP(
        "clip-vit-b-32", ["clip"], feature_extractor_weights_path=str(path)
    )
    torch.testing.assert_close(found.features, theirs(IMAGES)[0])
    assert found.features.shape == (2, 16) and found.logits is None
    assert found.extractor == "clip-vit-b-32-tf1-bilinear"
