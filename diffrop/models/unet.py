"""The UNet of DDPM for small images (Ho et al., 2020), conditioned on a class label."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffrop.config import ModelConfig


class UNet(nn.Module):
    """eps_theta(x_t, t, c).

    At the paper's setting (base width 128, multipliers 1-2-2-2, two residual blocks a level,
    attention at 16x16) it has 35,746,307 trainable parameters besides the label embedding.
    """

    def __init__(
        self,
        config: ModelConfig,
        num_classes: int,
        image_shape: tuple[int, int, int],
        num_augmentation_inputs: int = 0,
    ) -> None:
        """Build the network.

        Args:
            config: width, depth, attention, dropout.
            num_classes: labels 0 ... num_classes - 1; label num_classes is the null label.
            image_shape: (C, H, W); H = W, divisible by 2 for each level but the last.
            num_augmentation_inputs: numbers that tell how a training image was augmented; they
                pass a bias-free linear layer, so that zeros are the same as none.

        Raises:
            ValueError: the image cannot be halved often enough.
        """
        super().__init__()
        channels, size, width = image_shape
        halvings = len(config.channel_multipliers) - 1
        if size != width or size % 2**halvings:
            raise ValueError(
                f"images of {size}x{width} do not fit channel_multipliers "
                f"{list(config.channel_multipliers)}; allowed: square, divisible by {2**halvings}"
            )
        base, embedding = config.base_channels, 4 * config.base_channels
        self.time_channels = base
        self.time_mlp = nn.Sequential(
            nn.Linear(base, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.label_embedding = nn.Embedding(num_classes + 1, embedding)
        self.stem = nn.Conv2d(channels, base, 3, padding=1)

        def block(c_in: int, c_out: int, attention: bool) -> ResBlock:
            return ResBlock(c_in, c_out, embedding, config.dropout, attention)

        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, now = [base], base
        for level, multiplier in enumerate(config.channel_multipliers):
            for _ in range(config.num_res_blocks):
                out = base * multiplier
                self.down.append(block(now, out, size in config.attention_resolutions))
                skips.append(now := out)
            if level < halvings:
                self.down.append(Downsample(now))
                skips.append(now)
                size //= 2
        self.middle = nn.ModuleList([block(now, now, True), block(now, now, False)])
        for level, multiplier in reversed(list(enumerate(config.channel_multipliers))):
            for _ in range(config.num_res_blocks + 1):
                out, attention = base * multiplier, size in config.attention_resolutions
                self.up.append(block(now + skips.pop(), out, attention))
                now = out
            if level > 0:
                self.up.append(Upsample(now))
                size *= 2
        last = nn.Conv2d(now, channels, 3, padding=1)
        self.head = nn.Sequential(group_norm(now), nn.SiLU(), last)
        self._initialise(last)
        self.augmentation: nn.Linear | None = None
        if num_augmentation_inputs:  # last, so that all other weights start as without it
            self.augmentation = nn.Linear(num_augmentation_inputs, embedding, bias=False)
            nn.init.xavier_uniform_(self.augmentation.weight)

    def _initialise(self, last: nn.Conv2d) -> None:
        """Xavier for every layer; residual branches and the head start near zero, as in DDPM."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        for module in self.modules():
            if isinstance(module, ResBlock):
                nn.init.xavier_uniform_(module.conv_2.weight, gain=1e-5)
            elif isinstance(module, Attention):
                nn.init.xavier_uniform_(module.project.weight, gain=1e-5)
        nn.init.xavier_uniform_(last.weight, gain=1e-5)
        nn.init.normal_(self.label_embedding.weight)

    def forward(
        self, x_t: Tensor, t: Tensor, labels: Tensor, augmentation: Tensor | None = None
    ) -> Tensor:
        """Return the predicted noise, in the dtype of the convolutions' weights.

        Args:
            x_t: noisy images (B, C, H, W), float.
            t: timesteps (B,), int64.
            labels: (B,), int64, 0 ... num_classes (the last is the null label).
            augmentation: (B, num_augmentation_inputs), float; None stands for zeros.
        """
        dtype = self.stem.weight.dtype
        condition = self.time_mlp(sinusoidal_embedding(t, self.time_channels).to(dtype))
        condition = condition + self.label_embedding(labels)
        if self.augmentation is not None and augmentation is not None:
            condition = condition + self.augmentation(augmentation.to(dtype))
        condition = F.silu(condition).to(dtype)
        h = self.stem(x_t.to(dtype))
        skips = [h]
        for layer in self.down:
            h = layer(h, condition) if isinstance(layer, ResBlock) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, condition)
        for layer in self.up:
            if isinstance(layer, ResBlock):
                h = layer(torch.cat([h, skips.pop()], dim=1), condition)
            else:
                h = layer(h)
        norm, last = self.head[0], self.head[2]
        assert isinstance(norm, nn.GroupNorm)
        out: Tensor = last(norm_silu(norm, h))
        return out


class ResBlock(nn.Module):
    """Two 3x3 convolutions with the condition added between, and optional self-attention."""

    def __init__(
        self, c_in: int, c_out: int, embedding: int, dropout: float, attention: bool
    ) -> None:
        super().__init__()
        self.norm_1, self.conv_1 = group_norm(c_in), nn.Conv2d(c_in, c_out, 3, padding=1)
        self.condition = nn.Linear(embedding, c_out)
        self.norm_2, self.conv_2 = group_norm(c_out), nn.Conv2d(c_out, c_out, 3, padding=1)
        self.dropout = Dropout(dropout)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        self.attention = Attention(c_out) if attention else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map (B, c_in, H, W) and the activated condition (B, embedding) to (B, c_out, H, W)."""
        h = self.conv_1(norm_silu(self.norm_1, x))
        h = h + self.condition(condition)[:, :, None, None]
        h = self.conv_2(norm_silu(self.norm_2, h, self.dropout))
        out: Tensor = self.attention(self.skip(x) + h)
        return out


class Attention(nn.Module):
    """Single-head self-attention over the positions of a feature map, with a residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape; in channels-last memory every reshape is a view."""
        qkv = self.qkv(normalised(self.norm, x).to(x.dtype))
        q, k, v = qkv.flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, dim=-1)
        mixed = F.scaled_dot_product_attention(q, k, v).squeeze(1).transpose(1, 2)
        out: Tensor = x + self.project(mixed.reshape(x.shape))
        return out


class Dropout(nn.Dropout):
    """Dropout whose rate is a number in memory where the network is compiled.

    So one compiled network serves with dropout and, for a check against the eager one, without.
    """

    rate: Tensor

    def __init__(self, p: float) -> None:
        super().__init__(p)
        self.register_buffer("rate", torch.tensor(p), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Drop values at `rate` in training, and scale up what is left."""
        if not torch.compiler.is_compiling():
            return F.dropout(x, self.p, self.training)
        if not self.training or self.p == 0:
            return x
        return torch.where(torch.rand_like(x) >= self.rate, x / (1 - self.rate), 0)


class Downsample(nn.Conv2d):
    """Halve height and width by a strided 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2, padding=1)


class Upsample(nn.Conv2d):
    """Double height and width: nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, 2H, 2W)."""
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with DDPM's 32 groups, or fewer so that each holds at least four channels."""
    most = min(32, channels // 4)
    groups = next(groups for groups in range(most, 0, -1) if channels % groups == 0)
    return nn.GroupNorm(groups, channels)


def norm_silu(norm: nn.GroupNorm, x: Tensor, dropout: nn.Module | None = None) -> Tensor:
    """Return silu(norm(x)) (B, C, H, W), after dropout if given, in the dtype of x."""
    h = F.silu(normalised(norm, x))
    return (h if dropout is None else dropout(h)).to(x.dtype)


def normalised(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """Return norm(x) (B, C, H, W), computed and returned in float32 at least.

    A compiler gets `channelwise_group_norm`: what follows then joins its last pass.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    if torch.compiler.is_compiling():
        return channelwise_group_norm(norm, wide)
    return F.group_norm(wide, norm.num_groups, norm.weight, norm.bias, norm.eps)


def channelwise_group_norm(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """Return GroupNorm by way of each channel's mean and variance, (B, C, H, W).

    In channels-last memory a group's values lie apart, each channel's are the rows of a matrix:
    one reduction along them and one affine map of each channel read whole lines. The variance of
    a group is the mean of its channels' variances plus the variance of their means.
    """
    variances, means = torch.var_mean(x, dim=(2, 3), correction=0)
    means = means.unflatten(1, (norm.num_groups, -1))
    variances = variances.unflatten(1, (norm.num_groups, -1))
    centre = means.mean(2, keepdim=True)
    variance = variances.mean(2, keepdim=True) + (means - centre).square().mean(2, keepdim=True)
    scale = norm.weight.view(norm.num_groups, -1) * (variance + norm.eps).rsqrt()
    shift = norm.bias.view(norm.num_groups, -1) - centre * scale
    return x * scale.flatten(1)[:, :, None, None] + shift.flatten(1)[:, :, None, None]


def sinusoidal_embedding(t: Tensor, channels: int) -> Tensor:
    """Return the sinusoidal embedding of timesteps (B,) as float32 (B, channels)."""
    half = channels // 2
    rate = torch.exp(-math.log(10_000) / half * torch.arange(half, device=t.device))
    angle = t.float()[:, None] * rate[None]
    return torch.cat([angle.sin(), angle.cos()], dim=1)
