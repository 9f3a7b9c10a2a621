import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from diffrop.checkpoint_file import write_checkpoint
from diffrop.checkpoint_header import read_card, read_digest
from diffrop.errors import CheckpointError
from tests.made.checkpoints import checkpoint


def test_card_and_digest_are_read_without_torch(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, checkpoint())
    program = (
        "import sys; from pathlib import Path; from diffrop import checkpoint_header as header;"
        f"path = Path({str(path)!r});"
        "print(header.read_card(path), header.read_digest(path), 'torch' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == f"{read_card(path)} {read_digest(path)} False"
    assert read_card(path) == checkpoint().card


def test_equal_tensors_have_one_digest_whatever_the_card_says(tmp_path: Path) -> None:
    first, second = checkpoint(), checkpoint()
    second.card["name"] = "y"
    digests = []
    for name, stored in (("a", first), ("b", second), ("c", checkpoint(2.0))):
        write_checkpoint(tmp_path / name, stored)
        digests.append(read_digest(tmp_path / name))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"garbage" * 9])
def test_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(content)
    for read in (read_card, read_digest):
        with pytest.raises(CheckpointError, match=f"{path} is not a readable checkpoint"):
            read(path)


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        read_card(path)
    path.write_bytes(b"\x02" + bytes(7) + b"{}")
    with pytest.raises(CheckpointError, match="checkpoint format None; allowed: 1 to 2"):
        read_card(path)
    save_file({}, path, {"format": "0"})
    with pytest.raises(CheckpointError, match="checkpoint format 0; allowed: 1 to 2"):
        read_digest(path)
