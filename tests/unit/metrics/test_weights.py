import hashlib
from pathlib import Path

import pytest

from diffrop.metrics.weights import weights_file


def test_weights_come_from_a_url_with_a_digest_and_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    path = weights_file(f"{source.as_uri()}#sha256={digest}", tmp_path / "cache")
    assert path.read_bytes() == b"weights"
    source.unlink()
    assert weights_file(f"{source.as_uri()}#sha256={digest}", tmp_path / "cache") == path
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="could not be downloaded"):
        weights_file(f"{source.as_uri()}#sha256={digest}", tmp_path / "cache")


def test_weights_of_another_digest_or_none_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"weights")
    with pytest.raises(ValueError, match="could not be downloaded"):
        weights_file(f"{source.as_uri()}#sha256={'0' * 64}", tmp_path / "cache")
    with pytest.raises(ValueError, match=r"URL#sha256=HEX"):
        weights_file(source.as_uri(), tmp_path / "cache")
    with pytest.raises(ValueError, match=r"'/nowhere/weights.pth', which is no file"):
        weights_file("/nowhere/weights.pth", tmp_path)
