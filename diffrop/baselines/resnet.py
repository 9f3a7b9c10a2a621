"""ResNet-32 for small images (He et al., 2016, Section 4.2)."""

import torch.nn.functional as F
from torch import Tensor, nn

STAGE_CHANNELS = (16, 32, 64)
BLOCKS_PER_STAGE = 5


class ResNet32(nn.Module):
    """Class logits: a 3x3 convolution, three stages of five basic blocks, and a linear layer.

    With the paper's parameter-free shortcuts it has 464,154 weights for 10 classes of RGB images.
    """

    def __init__(self, num_channels: int, num_classes: int) -> None:
        """Build for images of `num_channels`; any height and width of 4 pixels or more fit."""
        super().__init__()
        width = STAGE_CHANNELS[0]
        self.stem = nn.Conv2d(num_channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        blocks = []
        for stage, channels in enumerate(STAGE_CHANNELS):
            for block in range(BLOCKS_PER_STAGE):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(BasicBlock(width, channels, stride))
                width = channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [-1, 1] to logits (B, num_classes)."""
        h = self.blocks(F.relu(self.norm(self.stem(x))))
        logits: Tensor = self.head(h.mean(dim=(2, 3)))
        return logits


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the shortcut subsamples and pads with zero channels (option A)."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)
        self.norm_1 = nn.BatchNorm2d(c_out)
        self.conv_2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.norm_2 = nn.BatchNorm2d(c_out)
        self.stride, self.added_channels = stride, c_out - c_in

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H / stride, W / stride), rounded up."""
        h = self.norm_2(self.conv_2(F.relu(self.norm_1(self.conv_1(x)))))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        half = self.added_channels // 2
        shortcut = F.pad(shortcut, (0, 0, 0, 0, half, self.added_channels - half))
        return F.relu(h + shortcut)
