import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import diffrop.checkpoint_file as module
from diffrop.errors import CheckpointError, NewerFormatError
from diffrop.storage import temporary_beside
from diffrop.training.checkpoint import CheckpointDirectory
from diffrop.training.store import CheckpointStore
from tests.made.checkpoints import checkpoint, damage, identity
from tests.made.faults import fault


@fault(14, "the file cut, emptied, a bit flipped")
@pytest.mark.parametrize("how", ["truncate", "flip", "empty"])
def test_damaged_newest_falls_back_with_a_warning(tmp_path: Path, how: str) -> None:
    directory = CheckpointDirectory(tmp_path)
    directory.save(64, checkpoint(1.0))
    damage(directory.save(128, checkpoint(2.0, 128)), how)
    with pytest.warns(UserWarning, match="000128"):
        newest = directory.newest()
    assert newest is not None
    assert newest.tensors["model.a"][0, 0] == 1.0


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    directory = CheckpointDirectory(tmp_path, keep=2)
    for images in (64, 128, 192):
        directory.save(images, checkpoint(images=images))
    assert [path.name for path in directory.files()] == [
        "images_000000000128.safetensors",
        "images_000000000192.safetensors",
    ]


def test_crash_before_the_rename_leaves_the_old_one_and_the_orphans_are_swept(
    tmp_path: Path,
) -> None:
    directory = CheckpointDirectory(tmp_path)
    directory.save(64, checkpoint(1.0))
    # Killed writers leave these: one of ours, and one of safetensors, which writes beside it.
    orphans = (temporary_beside(directory.path_of(128)), tmp_path / ".tmpl1mfOJ")
    for orphan in orphans:
        orphan.write_bytes(b"partial")
    newest = directory.newest()
    assert newest is not None and newest.tensors["model.a"][0, 0] == 1.0
    directory.save(192, checkpoint(3.0, 192))
    assert not any(orphan.exists() for orphan in orphans)


def test_safetensors_writes_beside_the_file_under_a_name_that_is_swept(
    tmp_path: Path,
) -> None:
    program = (
        "import sys, torch; from pathlib import Path;"
        "from diffrop.training.checkpoint import CheckpointDirectory;"
        "from diffrop.checkpoint_file import Checkpoint;"
        "directory = CheckpointDirectory(Path(sys.argv[1]));"
        "big = {'a': torch.zeros(50_000_000)};"
        "print('begins', flush=True);"
        "[directory.save(n, Checkpoint(big, {'images_seen': n})) for n in range(1, 1000)]"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE
    )
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".tmp*")):
            assert time.monotonic() < deadline
    finally:
        writer.kill()
        writer.communicate()
    CheckpointDirectory(tmp_path, keep=1).save(2000, checkpoint(images=2000))
    assert [path.name for path in tmp_path.iterdir()] == ["images_000000002000.safetensors"]


def test_checkpoint_under_the_name_of_another_is_passed_over(tmp_path: Path) -> None:
    directory = CheckpointDirectory(tmp_path)
    directory.save(64, checkpoint(1.0))
    shutil.copy(directory.path_of(64), directory.path_of(128))
    with pytest.warns(UserWarning, match="000128.* its card is of 64 images; the one before"):
        newest = directory.newest()
    assert newest is not None and newest.card["images_seen"] == 64


def _as_format_1(path: Path) -> None:
    """Write a checkpoint as the format before did: its digest is of the tensors alone."""
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    metadata = {"format": "1", "card": metadata["card"], "sha256": metadata["tensors_sha256"]}
    save_file(load_file(path), path, metadata)


@pytest.mark.parametrize("number", ["1", "2"])
@pytest.mark.parametrize("bit", range(8))
def test_damaged_format_falls_back(tmp_path: Path, number: str, bit: int) -> None:
    directory = CheckpointDirectory(tmp_path)
    directory.save(64, checkpoint(1.0))
    path = directory.save(128, checkpoint(2.0, 128))
    if number == "1":
        _as_format_1(path)
    newest = directory.newest()
    assert newest is not None and newest.card["images_seen"] == 128
    content = bytearray(path.read_bytes())
    content[content.index(b'"format":"') + len(b'"format":"')] ^= 1 << bit
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="000128.*; the one before it is used"):
        newest = directory.newest()
    assert newest is not None and newest.card["images_seen"] == 64


def test_checkpoint_of_a_later_version_is_neither_passed_over_nor_replaced(tmp_path: Path) -> None:
    folder = CheckpointStore(tmp_path).open(identity())
    folder.save(64, checkpoint())
    save_file({}, folder.path_of(128), {"format": "3"})
    for use in (folder.newest, lambda: folder.holds(128)):
        with pytest.raises(NewerFormatError, match=r"format 3, and this version .* up to 2"):
            use()


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
        directory.save(128, checkpoint(2.0, 128))
    assert [path.name for path in tmp_path.iterdir()] == ["images_000000000064.safetensors"]
    assert directory.newest() is not None


def test_empty_directory_has_no_newest(tmp_path: Path) -> None:
    assert CheckpointDirectory(tmp_path / "none").newest() is None
