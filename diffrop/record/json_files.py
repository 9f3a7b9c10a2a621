"""JSON files and files of JSON lines, read and written in one way."""

import contextlib
import json
from pathlib import Path
from typing import Any, TypeVar

from diffrop.record.codec import decode, encode
from diffrop.storage import write_atomically

Record = TypeVar("Record")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Raises:
        ValueError: it is missing, unreadable or no JSON, or it holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror})") from error
    except ValueError as error:
        raise ValueError(f"cannot read {path} ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"cannot read {path} (it holds no mapping)")
    return found


def read_record(path: Path, cls: type[Record]) -> Record | None:
    """Read a dataclass from a JSON file; None without the file.

    Raises:
        ValueError: the file cannot be read, or holds something else.
    """
    if not path.exists():
        return None
    values = read_json(path)
    try:
        return decode(cls, values)
    except ValueError as error:
        raise ValueError(f"cannot read {path} ({error})") from error


def write_record(path: Path, record: Any, indent: int | None = 1) -> None:
    """Write a dataclass as a JSON file, whole or not at all."""
    write_atomically(path, json.dumps(encode(record), indent=indent))


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the mappings of a file of JSON lines, none without the file.

    A writer that was killed leaves a torn line, which is passed over, as is any line that holds
    something else.
    """
    if not path.is_file():
        return []
    return parse_json_lines(path.read_text(encoding="utf-8", errors="replace"))


def parse_json_lines(text: str) -> list[dict[str, Any]]:
    """Return the mappings of JSON lines; see `read_json_lines`."""
    rows = []
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            row = json.loads(line)
            if isinstance(row, dict):
                rows.append(row)
    return rows


def append_json_line(path: Path, row: Any) -> None:
    """Write one more line, whole or not at all; `row` is a dataclass or plain data."""
    line = (json.dumps(encode(row)) + "\n").encode()
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            written = file.write(line)
            if written < len(line):  # the disk is full, and the rest is told why
                file.write(line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(before)  # a torn line would take the next one with it
            raise


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a file of JSON lines anew, whole or not at all."""
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
