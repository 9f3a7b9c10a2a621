"""JSON files and files of JSON lines, read and written in one way."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from diffrop.record.codec import decode, encode
from diffrop.record.kinds import name_damage, read_stored
from diffrop.storage import write_atomically, written_atomically

Record = TypeVar("Record")


SEAL = "sha256"
"""The key of a file's digest over all other keys; files of earlier versions do not have it."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Raises:
        ValueError: it is missing, unreadable or no JSON, it was altered, or it holds something
            else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot read {path} ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"cannot read {path} (it holds no mapping)")
    seal = found.pop(SEAL, None)
    if seal not in (None, _digest(found)):
        raise ValueError(f"{path} is damaged (it was altered since it was written)")
    return found


def write_json(path: Path, values: Mapping[str, Any], indent: int | None = 1) -> None:
    """Write a mapping as a JSON file, with its digest, whole or not at all."""
    plain = json.loads(json.dumps(values))  # keys are texts once they are read
    write_atomically(path, json.dumps(plain | {SEAL: _digest(plain)}, indent=indent))


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def parse_record(path: Path, cls: type[Record]) -> Record:
    """Read a dataclass from a JSON file.

    Raises:
        ValueError: the file is missing or damaged.
    """
    values = read_json(path)
    try:
        return decode(cls, values)
    except ValueError as error:
        raise ValueError(f"cannot read {path} ({error})") from error


def read_record(path: Path, cls: type[Record]) -> Record | None:
    """Read a dataclass from a JSON file of a study; None without it.

    Returns:
        None, too, with a warning, where it is damaged and not precious; see `kinds`.

    Raises:
        StudyError: it is precious, and damaged.
    """
    return read_stored(path, lambda path: parse_record(path, cls))


def write_passing(path: Path, record: Any) -> None:
    """Write a dataclass as a JSON file that is soon replaced: whole, but not for good."""
    with written_atomically(path, synced=False) as temporary:
        temporary.write_text(json.dumps(encode(record)), encoding="utf-8")


def write_record(path: Path, record: Any, indent: int | None = 1) -> None:
    """Write a dataclass as a JSON file, whole or not at all."""
    write_json(path, encode(record), indent)


def read_json_lines(path: Path, build: Callable[[dict[str, Any]], Record]) -> list[Record]:
    """Return what the lines of a file of JSON lines hold, nothing without the file.

    Lines that are torn or hold something else are passed over, and a warning names them.

    Args:
        path: the file.
        build: makes a line's value of its mapping; ValueError if it cannot.
    """
    lines = read_stored(path, _lines) or []
    found, lost = [], []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("no mapping")
            found.append(build(row))
        except (ValueError, RecursionError):
            lost.append(number)
    if lost:
        shown = ", ".join(map(str, lost[:5])) + (", ..." if len(lost) > 5 else "")
        name_damage(path, f"{len(lost)} of {len(lines)} lines, {shown}, cannot be read")
    elif not lines and os.path.lexists(path) and path.is_file():
        name_damage(path, "it is empty")
    return found


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def parse_json_lines(text: str) -> list[dict[str, Any]]:
    """Return the mappings of a part of a file of JSON lines; other lines are passed over."""
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def append_json_line(path: Path, row: Any) -> None:
    """Write one more line, whole or not at all; `row` is a dataclass or plain data.

    It begins on a line of its own, also where a writer that was killed left a torn one.
    """
    line = (json.dumps(encode(row)) + "\n").encode()
    with path.open("ab+", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        if before:
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        try:
            written = file.write(line)
            if written < len(line):  # the disk is full, and the rest is told why
                file.write(line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(before)  # a torn line would take the next one with it
            raise


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a file of JSON lines anew, whole or not at all; without a row there is no file."""
    if rows:
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.unlink(missing_ok=True)
