"""The one reader of YAML: plain data, each key once, any fault as one sentence; and a writer."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 16 * 2**20
"""A file of settings that is larger is none."""


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which refuses a key that stands twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping; what `<<` brings in may be replaced, what is written may not."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    line = key_node.start_mark.line + 1
                    raise yaml.constructor.ConstructorError(
                        problem=f"the key {key!r} stands twice, the second time in line {line}"
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """Return the plain data that a text in YAML says.

    Raises:
        ValueError: it is not YAML; the message says why in one line, and begins in lower case.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        # What PyYAML's own constructors raise: for the date 2001-13-45, a tag on a wrong value.
        raise ValueError(
            f"a value in it cannot be read: {' '.join(str(error).split())}"
        ) from error


def load_yaml(path: Path) -> Any:
    """Read one YAML file as plain data; Windows' line ends and byte order mark are allowed.

    Raises:
        ValueError: the file is missing, unreadable or not YAML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"{path} has more than {MAX_BYTES:,} bytes; allowed: a YAML file")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not valid YAML: it is not UTF-8 ({error.reason})") from error
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error


def yaml_text(content: Any) -> str:
    """Return plain data as YAML for people to read: innermost collections in one line each."""
    options: dict[str, Any] = {"default_flow_style": None, "allow_unicode": True, "width": 95}
    return str(yaml.safe_dump(content, sort_keys=False, **options))
