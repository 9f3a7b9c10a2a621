import os
from pathlib import Path

import pytest

import diffrop.checkpoint_file as module
from diffrop.errors import CheckpointError
from diffrop.training.checkpoint import CheckpointDirectory
from tests.made.checkpoints import checkpoint, damage
from tests.made.faults import fault


@fault(14, "the file cut, emptied, a bit flipped")
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


def test_empty_directory_has_no_newest(tmp_path: Path) -> None:
    assert CheckpointDirectory(tmp_path / "none").newest() is None
