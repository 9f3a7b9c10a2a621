import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from diffrop.checkpoint_header import read_card


def test_card_of_a_real_safetensors_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "images_000000000064.safetensors"
    save_file({"x": np.zeros(3)}, path, metadata={"card": json.dumps({"class_counts": [3, 1]})})
    assert read_card(path) == {"class_counts": [3, 1]}


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02" + bytes(7) + b"{}", b"garbage" * 9])
def test_broken_checkpoint_has_no_card(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "images_000000000064.safetensors"
    path.write_bytes(content)
    assert read_card(path) == {} and read_card(tmp_path / "missing") == {}
