import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import diffrop.training.checkpoint as module
from diffrop.errors import CheckpointError
from diffrop.training.checkpoint import (
    Checkpoint,
    CheckpointDirectory,
    read_checkpoint,
    write_checkpoint,
)


def checkpoint(value: float = 1.0) -> Checkpoint:
    tensors = {"model.a": torch.full((3, 2), value), "step": torch.tensor(7)}
    return Checkpoint(tensors, {"images_seen": 64, "name": "x"})


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncate":
        content = content[: len(content) // 2]
    elif how == "flip":
        content[-1] ^= 1
    else:
        content = bytearray()
    path.write_bytes(content)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c.safetensors", checkpoint())
    read = read_checkpoint(tmp_path / "c.safetensors")
    assert read.card == {"images_seen": 64, "name": "x"}
    assert torch.equal(read.tensors["model.a"], torch.ones(3, 2))
    assert read.part("model").keys() == {"a"}


@pytest.mark.parametrize("how", ["truncate", "flip", "empty"])
def test_damaged_newest_falls_back_with_a_warning(tmp_path: Path, how: str) -> None:
    directory = CheckpointDirectory(tmp_path)
    directory.save(64, checkpoint(1.0))
    damage(directory.save(128, checkpoint(2.0)), how)
    with pytest.warns(UserWarning, match="000128"):
        newest = directory.newest()
    assert newest is not None
    assert newest.tensors["model.a"][0, 0] == 1.0


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    directory = CheckpointDirectory(tmp_path, keep=2)
    for images in (64, 128, 192):
        directory.save(images, checkpoint())
    assert [path.name for path in directory.files()] == [
        "images_000000000128.safetensors",
        "images_000000000192.safetensors",
    ]


def test_crash_before_the_rename_leaves_the_old_one_and_the_orphan_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = CheckpointDirectory(tmp_path)
    directory.save(64, checkpoint(1.0))

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", die)
        with pytest.raises(KeyboardInterrupt):
            directory.save(128, checkpoint(2.0))
    assert len(list(tmp_path.glob(".*.tmp"))) == 1
    newest = directory.newest()
    assert newest is not None and newest.tensors["model.a"][0, 0] == 1.0
    directory.save(192, checkpoint(3.0))
    assert list(tmp_path.glob(".*.tmp")) == []


def test_full_disk_is_a_clear_error_and_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = CheckpointDirectory(tmp_path)
    directory.save(64, checkpoint(1.0))

    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"partial")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(CheckpointError, match=r"No space left.*earlier checkpoints are untouched"):
        directory.save(128, checkpoint(2.0))
    assert [path.name for path in tmp_path.iterdir()] == ["images_000000000064.safetensors"]
    assert directory.newest() is not None


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._folder),)


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


def test_empty_directory_has_no_newest(tmp_path: Path) -> None:
    assert CheckpointDirectory(tmp_path / "none").newest() is None
