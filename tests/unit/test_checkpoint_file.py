import pickle
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diffrop.checkpoint_file import Checkpoint, read_cache, read_checkpoint, write_checkpoint
from diffrop.checkpoint_header import read_card
from diffrop.errors import CheckpointError, NewerFormatError
from tests.made import format_3
from tests.made.checkpoints import Payload, checkpoint, damage
from tests.made.faults import fault


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint that was written."""
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, checkpoint())
    return path


def test_what_is_written_is_read(path: Path) -> None:
    read = read_checkpoint(path)
    assert read.card == {"images_seen": 64, "name": "x"}
    assert torch.equal(read.tensors["model.a"], torch.ones(3, 2))
    assert read.part("model").keys() == {"a"}


@pytest.mark.parametrize("how", ["truncate", "flip", "empty"])
def test_damaged_file_is_refused(path: Path, how: str) -> None:
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
    with pytest.raises(CheckpointError, match="checkpoint format None; allowed: 1 to 2"):
        read_checkpoint(tmp_path / "c.safetensors")


def _with_format(path: Path, number: str) -> None:
    """Change what a file says of its format, and nothing else."""
    content = path.read_bytes()
    assert content.count(b'"format":"2"') == 1
    path.write_bytes(content.replace(b'"format":"2"', b'"format":"%b"' % number.encode()))


def _same(found: Checkpoint, expected: Checkpoint) -> bool:
    if found.card != expected.card or found.tensors.keys() != expected.tensors.keys():
        return False
    pairs = [(found.tensors[name], expected.tensors[name]) for name in expected.tensors]
    return all(one.dtype == other.dtype and torch.equal(one, other) for one, other in pairs)


def _flipped(content: bytearray, rng: random.Random) -> None:
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _overwritten(content: bytearray, rng: random.Random) -> None:
    """Put characters of JSON and digits, which more often give a header that can be parsed."""
    place = rng.randrange(len(content))
    for shift in range(rng.choice([1, 2, 4])):
        if place + shift < len(content):
            content[place + shift] = rng.choice(b'0123456789"{}[],: abcdef')


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(len(content)) :]


@pytest.mark.parametrize(("spoil", "times"), [(_flipped, 1500), (_overwritten, 600), (_cut, 100)])
def test_no_damage_of_header_or_tensors_gives_another_content(
    path: Path, spoil: Callable[[bytearray, random.Random], None], times: int
) -> None:
    rng = random.Random(7)
    intact, expected, num_refused = path.read_bytes(), read_checkpoint(path), 0
    for _ in range(times):
        content = bytearray(intact)
        spoil(content, rng)
        path.write_bytes(content)
        try:
            found = read_checkpoint(path)
        except CheckpointError:
            num_refused += 1
        else:
            assert _same(found, expected)
    assert num_refused > 0.9 * times


def test_altered_card_is_refused_without_its_tensors(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'images_seen\\": 64', b'images_seen\\": 65'))
    for read in (read_card, read_checkpoint):
        with pytest.raises(CheckpointError, match="its card does not match its SHA-256"):
            read(path)


def test_saying_the_format_before_is_no_way_around_the_check(path: Path) -> None:
    _with_format(path, "1")
    with pytest.raises(CheckpointError, match="does not match its SHA-256"):
        read_checkpoint(path)


def test_later_format_is_told_from_a_damaged_one(path: Path) -> None:
    _with_format(path, "3")
    with pytest.raises(CheckpointError, match="damaged: its format was altered to 3"):
        read_checkpoint(path)
    later = {"format": "3", "card": "{}", "tensors_sha256": "", "sha256": "of another kind"}
    save_file({"a": torch.ones(1)}, path, later)
    with pytest.raises(NewerFormatError, match=r"format 3, and this version reads .* up to 2"):
        read_checkpoint(path)


def test_checkpoints_of_the_format_before_are_read(tmp_path: Path) -> None:
    found = sorted((format_3.unpack(tmp_path) / "runs").rglob("images_*.safetensors"))
    trained = [path for path in found if path.parent.parent.name == "checkpoints"]
    assert trained
    for path in trained:
        assert b'"format":"1"' in path.read_bytes()
        card = read_checkpoint(path).card
        assert card == read_card(path) and card["images_seen"] == int(path.stem.split("_")[1])
    damage(trained[0], "flip")
    with pytest.raises(CheckpointError, match="does not match its SHA-256"):
        read_checkpoint(trained[0])


@pytest.mark.parametrize("how", ["truncate", "flip", "empty", "folder", "of something else"])
def test_damaged_cache_is_set_aside_to_be_made_again(tmp_path: Path, how: str) -> None:
    path = tmp_path / "cache.safetensors"

    def use(cache: Checkpoint) -> torch.Tensor:
        return cache.tensors["model.a"]

    assert read_cache(path, use) is None
    write_checkpoint(path, checkpoint())
    assert torch.equal(read_cache(path, use), torch.ones(3, 2))  # type: ignore[arg-type]
    if how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "of something else":
        write_checkpoint(path, Checkpoint({"other": torch.ones(1)}, {}))
    else:
        damage(path, how)
    with pytest.warns(UserWarning, match="set aside as cache.safetensors.damaged and made again"):
        assert read_cache(path, use) is None
    assert not path.exists() and path.with_name("cache.safetensors.damaged").exists()
