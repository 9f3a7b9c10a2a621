"""Ways in which a file of a study gets damaged, each on a copy that can be put back."""

import contextlib
import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

Damage = Callable[[Path], None]


def _truncated(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _text(content: bytes) -> Damage:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").touch()


def _unreadable(path: Path) -> None:
    """Lead to nothing: tests may run as root, who reads whatever its mode is."""
    path.unlink()
    path.symlink_to("nowhere/at/all")


def _edited(edit: Callable[[dict[str, Any]], None]) -> Damage:
    """Edit a file of JSON, JSON lines, YAML or CSV as mappings; others are left as they are."""

    def write(path: Path) -> None:
        match path.suffix:
            case ".json":
                found = json.loads(path.read_text())
                edit(found)
                path.write_text(json.dumps(found))
            case ".jsonl":
                rows = [json.loads(line) for line in path.read_text().splitlines()]
                edit(rows[len(rows) // 2])
                path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            case ".yaml":
                text = path.read_text()
                comments = [line for line in text.splitlines() if line.startswith("#")]
                found = yaml.safe_load(text)
                edit(found)
                path.write_text("\n".join([*comments, yaml.safe_dump(found, sort_keys=False)]))
            case ".csv":
                rows = list(csv.DictReader(io.StringIO(path.read_text())))
                for row in rows:
                    edit(row)
                file = io.StringIO()
                writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
                path.write_text(file.getvalue())

    return write


def _without(place: int) -> Damage:
    def edit(found: dict[str, Any]) -> None:
        names = list(found)
        del found[names[place % len(names)]]

    return _edited(edit)


def _of_type(value: object) -> Damage:
    def edit(found: dict[str, Any]) -> None:
        for name, old in found.items():
            if isinstance(old, int | float | list | dict):
                found[name] = value
                return

    return _edited(edit)


DAMAGES: dict[str, Damage] = {
    "truncated": _truncated,
    "empty": _text(b""),
    "null": _text(b"null"),
    "list": _text(b"[]"),
    "scalar": _text(b"7\n"),
    "binary": _text(bytes(range(256)) * 4),
    "folder": _folder,
    "unreadable": _unreadable,
    "unknown field": _edited(lambda found: found.update(unknown_field=1)),
    "text for a number": _of_type("many"),
    "null for a number": _of_type(None),
    "list for a number": _of_type([]),
    "first field missing": _without(0),
    "second field missing": _without(1),
    "third field missing": _without(2),
    "fourth field missing": _without(3),
    "last field missing": _without(-1),
}


@contextlib.contextmanager
def damaged(path: Path, how: str) -> Iterator[None]:
    """Damage a file, and put it back afterwards."""
    content = path.read_bytes()
    try:
        DAMAGES[how](path)
        yield
    finally:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.write_bytes(content)
