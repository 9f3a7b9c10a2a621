from pathlib import Path

import pytest

from diffrop.schema import load_yaml


@pytest.mark.parametrize("content", [b"a: [1, 2", b"a: b: c", b"\xff\xfe\xfa", b"a:\n\t- 1"])
def test_file_that_is_not_yaml_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not valid YAML") as error:
        load_yaml(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "missing.yaml"
    for unreadable in (path, tmp_path):
        with pytest.raises(ValueError, match="cannot read") as error:
            load_yaml(unreadable)
        assert str(unreadable) in str(error.value)
