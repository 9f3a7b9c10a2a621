from pathlib import Path

import pytest

from diffrop.yaml_text import MAX_BYTES, load_yaml, parse_yaml
from tests.made.faults import fault


@fault(46, "files with doubled keys")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "'a' stands twice, the second time in line 3"),
        ("x: [{a: 1, a: 1}]", "'a' stands twice"),
        ("{1: x, 1.0: y}", "stands twice"),
        ("? [1]\n: x", "unhashable key"),
        ("[1", "expected ',' or ']'"),
        ("a: b: c", "mapping values are not allowed"),
        ("2001-13-45", "month must be in 1..12"),
        ("!!int x", "invalid literal"),
        ("!!timestamp x", "a value in it cannot be read"),
        ("!!python/object/apply:os.abort []", "could not determine a constructor"),
        ("[" * 5000, "nested too deeply"),
        ("a\x00b", "unacceptable character"),
        ("--- a\n--- b", "expected a single document"),
    ],
)
def test_what_is_no_yaml_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_yaml(text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_merged_keys_may_be_replaced() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}"
    assert parse_yaml(text) == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}


@pytest.mark.parametrize(
    "content", [b"a: 1\r\nb: [x]\r\n", b"\xef\xbb\xbfa: 1\nb: [x]\n", b"a: 1\nb: [x]"]
)
def test_line_ends_and_mark_of_windows_are_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    assert load_yaml(path) == {"a": 1, "b": ["x"]}


def test_device_or_huge_file_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"more than {MAX_BYTES:,} bytes"):
        load_yaml(Path("/dev/zero"))
