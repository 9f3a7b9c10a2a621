"""Commands that are given the wrong file, or a folder that cannot be made, say so in one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.made.commands import command

CHECKPOINT = "images_000000000128.safetensors"


def refusal(name: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line in which studies/NAME.py refuses, with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        command(name)(words)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    *usage, line = printed.err.splitlines()
    assert printed.out == "" and "error: " in line and "error: " not in "".join(usage)
    assert usage == [] or usage[0].startswith("usage: ")
    return line


@pytest.mark.parametrize("name", ["sample", "export_pipeline"])
@pytest.mark.parametrize("out", ["/etc/passwd", "/etc/passwd/new"])
def test_out_that_can_be_no_folder_is_refused_before_anything_is_read(
    name: str, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--checkpoint", str(tmp_path / "missing"), "--out", out]
    line = refusal(name, words, capsys)
    assert f"argument --out: folder {out!r} " in line
    assert "allowed: a new folder, or an empty one" in line


@pytest.mark.parametrize("name", ["sample", "export_pipeline", "run_guidance_sweep"])
def test_features_as_checkpoint_are_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "features.npz"
    np.savez(path, features=np.zeros((4, 2), dtype=np.float32))
    line = refusal(name, [*words_of(name, tmp_path), "--checkpoint", str(path)], capsys)
    assert str(path) in line and "is not a readable checkpoint" in line


@pytest.mark.parametrize("name", ["sample", "export_pipeline", "run_guidance_sweep"])
@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_weights_of_another_program_as_checkpoint_are_refused(
    name: str, metadata: dict[str, str] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / CHECKPOINT
    save_file({"weight": torch.zeros(2)}, path, metadata)
    line = refusal(name, [*words_of(name, tmp_path), "--checkpoint", str(path)], capsys)
    assert f"{path} has checkpoint format" in line and "allowed: 1 to 2" in line


def words_of(name: str, folder: Path) -> list[str]:
    """Return where a command writes, below a folder."""
    option = "--runs-root" if name == "run_guidance_sweep" else "--out"
    return [option, str(folder / "out")]
