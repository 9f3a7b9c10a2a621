from pathlib import Path

import numpy as np
import torch
from PIL import Image

from diffrop.scoring.grid import save_grid


def test_images_stand_row_by_row_with_a_border(tmp_path: Path) -> None:
    images = torch.stack([torch.full((1, 32, 32), value) for value in (0, 50, 100)]).byte()
    path = tmp_path / "samples" / "grid.png"
    save_grid(images, 2, path)
    grid = np.asarray(Image.open(path))
    assert grid.shape == (2 * 34, 2 * 34)
    assert [grid[10, 10], grid[10, 44], grid[44, 10], grid[44, 44]] == [0, 50, 100, 255]
    assert grid[0, 0] == grid[33, 5] == 255


def test_small_images_are_enlarged_and_colours_stay(tmp_path: Path) -> None:
    image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    image[0, 2] = 200
    path = tmp_path / "grid.png"
    save_grid(image, 10, path)
    grid = np.asarray(Image.open(path))
    assert grid.shape == (34, 34, 3)
    assert grid[16, 16].tolist() == [0, 0, 200]
