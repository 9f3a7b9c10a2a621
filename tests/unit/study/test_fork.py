from pathlib import Path

import pytest
import torch

from diffrop.checkpoint_file import Checkpoint, write_checkpoint
from diffrop.study.fork import ForkPoint, parse_fork


def test_start_of_a_fork_is_read_from_words_or_a_file(tmp_path: Path) -> None:
    assert parse_fork("baseline@64", 32) == ForkPoint(64, None)
    assert parse_fork("baseline@10_000", 32) == ForkPoint(10_016, None)  # whole batches
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, Checkpoint({"x": torch.zeros(9)}, {"images_seen": 32}))
    assert parse_fork(str(path), 32) == ForkPoint(32, path)
    path.write_bytes(path.read_bytes()[:50])
    for text, reason in (
        (str(path), "fork_from: .*not a readable checkpoint"),
        ("baseline", "fork_from is 'baseline'; allowed: baseline@IMAGES, or the file"),
        ("baseline@0", "over 0 images"),
        ("baseline@half", "over 0 images"),
        ("other@64", "or the file of a checkpoint"),
    ):
        with pytest.raises(ValueError, match=reason):
            parse_fork(text, 32)
