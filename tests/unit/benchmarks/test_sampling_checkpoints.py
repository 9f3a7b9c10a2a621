"""Where the checkpoints' images come from."""

import gzip
from pathlib import Path

import pytest

from benchmarks.sampling_checkpoints import IDX_FILES, unpack


def test_packaged_images_are_unpacked_for_torchvision(tmp_path: Path) -> None:
    source, target = tmp_path / "packaged", tmp_path / "data" / "raw"
    source.mkdir()
    for name in IDX_FILES:
        (source / f"{name}.gz").write_bytes(gzip.compress(name.encode()))
    unpack(source, target)
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        name: name for name in IDX_FILES
    }
    (target / IDX_FILES[0]).write_text("own")
    unpack(tmp_path / "gone", target)  # all are there
    assert (target / IDX_FILES[0]).read_text() == "own"


def test_missing_images_are_refused_with_the_package_that_has_them(tmp_path: Path) -> None:
    (tmp_path / f"{IDX_FILES[0]}.gz").write_bytes(gzip.compress(b"images"))
    with pytest.raises(
        ValueError, match=r"train-labels-idx1-ubyte.*install dataset-fashion-mnist"
    ):
        unpack(tmp_path, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
