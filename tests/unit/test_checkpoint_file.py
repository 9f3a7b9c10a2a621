import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diffrop.checkpoint_file import read_checkpoint, write_checkpoint
from diffrop.errors import CheckpointError
from tests.made.checkpoints import Payload, checkpoint, damage
from tests.made.faults import fault


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c.safetensors", checkpoint())
    read = read_checkpoint(tmp_path / "c.safetensors")
    assert read.card == {"images_seen": 64, "name": "x"}
    assert torch.equal(read.tensors["model.a"], torch.ones(3, 2))
    assert read.part("model").keys() == {"a"}


@pytest.mark.parametrize("how", ["truncate", "flip", "empty"])
def test_damaged_file_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, checkpoint())
    damage(path, how)
    with pytest.raises(CheckpointError, match=r"c\.safetensors is (damaged|not a readable)"):
        read_checkpoint(path)


@fault(23, "a pickle with `__reduce__`")
def test_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "images_000000000064.safetensors"
    path.write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_foreign_safetensors_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "c.safetensors")
    with pytest.raises(CheckpointError, match="checkpoint format None; allowed: 1"):
        read_checkpoint(tmp_path / "c.safetensors")
