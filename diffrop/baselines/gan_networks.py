"""Generator and discriminator of all GAN baselines: the residual networks of SNGAN.

Miyato et al. (2018), with the projection discriminator of Miyato and Koyama (2018). CBGAN's own
experiments use a DCGAN; here all GANs share these networks, so that they differ in method alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SMALLEST_SIZES = range(4, 8)
"""Heights in pixels at which a generator may start; 8 is twice 4."""


def num_doublings(image_shape: tuple[int, int, int]) -> int:
    """Return how often the smallest feature map doubles to the image's height.

    Raises:
        ValueError: the image is not square, or its height not 4 to 7 times 2, 4, 8, ...
    """
    _, height, width = image_shape
    doublings, smallest = 0, height
    while smallest % 2 == 0 and smallest // 2 >= min(SMALLEST_SIZES):
        doublings, smallest = doublings + 1, smallest // 2
    if height != width or smallest not in SMALLEST_SIZES or doublings == 0:
        raise ValueError(
            f"images of {height}x{width} do not fit the GANs; allowed: square, with a height of 4 "
            "to 7 pixels times 2, 4, 8, ..., such as 8, 28, 32 or 64"
        )
    return doublings


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation with a gain 1 + gamma_y and a bias beta_y for each class y.

    With one class it is an ordinary batch normalisation.
    """

    def __init__(self, num_channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(num_channels, affine=False)
        self.gamma = nn.Parameter(torch.zeros(num_classes, num_channels))
        self.beta = nn.Parameter(torch.zeros(num_classes, num_channels))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Normalise (B, C, H, W) for labels (B,)."""
        gain, bias = 1 + self.gamma[labels], self.beta[labels]
        normalised: Tensor = self.norm(x)
        return normalised * gain[:, :, None, None] + bias[:, :, None, None]


class Generator(nn.Module):
    """G(z, y): images in [-1, 1]."""

    def __init__(
        self, base_channels: int, z_dim: int, num_classes: int, image_shape: tuple[int, int, int]
    ) -> None:
        """Build the network.

        Args:
            base_channels: of every feature map.
            z_dim: length of z.
            num_classes: of the conditional batch normalisation; 1 makes it unconditional.
            image_shape: (C, H, W), as `num_doublings` allows.
        """
        super().__init__()
        doublings = num_doublings(image_shape)
        self.z_dim, self.num_classes = z_dim, num_classes
        self.start = (base_channels, image_shape[1] >> doublings, image_shape[2] >> doublings)
        self.stem = nn.Linear(z_dim, base_channels * self.start[1] * self.start[2])
        self.blocks = nn.ModuleList(
            GeneratorBlock(base_channels, num_classes) for _ in range(doublings)
        )
        self.norm = nn.BatchNorm2d(base_channels)
        self.head = nn.Conv2d(base_channels, image_shape[0], 3, padding=1)
        _initialise(self)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Map z (B, z_dim) and labels (B,) to images (B, C, H, W)."""
        h = self.stem(z).view(-1, *self.start)
        for block in self.blocks:
            h = block(h, labels)
        return torch.tanh(self.head(F.relu(self.norm(h))))


class GeneratorBlock(nn.Module):
    """Double height and width: two 3x3 convolutions, and a 1x1 convolution as shortcut."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm_1 = ConditionalBatchNorm(channels, num_classes)
        self.conv_1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm_2 = ConditionalBatchNorm(channels, num_classes)
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.skip = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, 2H, 2W)."""
        h = F.interpolate(F.relu(self.norm_1(x, labels)), scale_factor=2.0)
        h = self.conv_2(F.relu(self.norm_2(self.conv_1(h), labels)))
        shortcut: Tensor = self.skip(F.interpolate(x, scale_factor=2.0))
        return h + shortcut


class Discriminator(nn.Module):
    """D(x, y): one logit an image; every layer is spectrally normalised."""

    def __init__(
        self, base_channels: int, num_classes: int, image_shape: tuple[int, int, int]
    ) -> None:
        """Build the network; one class makes it unconditional. Arguments as for `Generator`."""
        super().__init__()
        halvings = num_doublings(image_shape)
        channels = [image_shape[0]] + [base_channels] * (halvings + 1)
        self.blocks = nn.Sequential(
            *(
                DiscriminatorBlock(channels[i], channels[i + 1], i < halvings, i == 0)
                for i in range(halvings + 1)
            )
        )
        self.head = nn.Linear(base_channels, 1)
        self.embedding = nn.Embedding(num_classes, base_channels) if num_classes > 1 else None
        _initialise(self)
        for module in list(self.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
                spectral_norm(module)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Map images (B, C, H, W) and labels (B,) to logits (B,): psi(h) + <v_y, h>."""
        h = F.relu(self.blocks(x)).sum(dim=(2, 3))
        logits: Tensor = self.head(h).squeeze(1)
        if self.embedding is None:
            return logits
        return logits + (self.embedding(labels) * h).sum(1)


class DiscriminatorBlock(nn.Module):
    """Two 3x3 convolutions; halves height and width if `halve`; the first has no ReLU before."""

    def __init__(self, c_in: int, c_out: int, halve: bool, first: bool) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.conv_2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out or halve else nn.Identity()
        self.halve, self.first = halve, first

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H, W), or half of that."""
        h = self.conv_1(x if self.first else F.relu(x))
        out: Tensor = self.conv_2(F.relu(h)) + self.skip(x)
        return F.avg_pool2d(out, 2) if self.halve else out


def _initialise(network: nn.Module) -> None:
    """Orthogonal weights, as in the implementation of both papers; biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
            nn.init.orthogonal_(module.weight)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
