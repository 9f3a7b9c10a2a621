"""Sample images as one PNG."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor


def save_grid(images: Tensor, num_columns: int, path: Path) -> None:
    """Write uint8 images (N, C, H, W) as one PNG, row by row, enlarged to 32 pixels at least."""
    scale = max(1, 32 // images.shape[-1])
    tiles = images.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    tiles = torch.nn.functional.pad(tiles, (1, 1, 1, 1), value=255)
    rows = [torch.cat(list(row), dim=2) for row in tiles.split(num_columns)]
    width = max(row.shape[2] for row in rows)
    padded = [torch.nn.functional.pad(row, (0, width - row.shape[2]), value=255) for row in rows]
    grid = torch.cat(padded, dim=1).permute(1, 2, 0).squeeze(-1).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grid).save(path)
