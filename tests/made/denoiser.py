"""A network that was never trained: noise by formula."""

import torch
from torch import Tensor


class Denoiser(torch.nn.Module):
    """Noise by formula, another one for each label, best at an omega of about 1."""

    def __init__(self, scale: float = 0.3) -> None:
        super().__init__()
        self.scale, self.sizes = scale, list[int]()

    def forward(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        self.sizes.append(len(x_t))
        return self.scale * x_t + 0.01 * labels.view(-1, 1, 1, 1)
