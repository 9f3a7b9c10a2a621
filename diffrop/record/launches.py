"""launches.jsonl: what was typed at each launch of a study, and what it ran on.

study.yaml says that of the newest launch, and changes.diff has its changes to the checkout. Those
of earlier launches lie beside it, by the beginning of their SHA-256.
"""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffrop.provenance import MAX_CHANGES
from diffrop.record.codec import decode
from diffrop.record.json_files import append_json_line, read_json_lines
from diffrop.record.settings import read_settings
from diffrop.record.study_folder import StudyFolder
from diffrop.storage import written_atomically


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One launch of a study."""

    command: str
    environment: dict[str, Any]
    """Of its driver, as `diffrop.provenance.environment` has it; empty where that is not known."""
    time: float | None = None
    """When it began, in seconds since 1970; None where an earlier version wrote it down."""


def read_launches(folder: StudyFolder) -> list[Launch]:
    """Return the launches of a study, oldest first.

    Earlier versions wrote down the newest alone, in study.yaml.

    Raises:
        ValueError: the folder is no study.
        StudyError: study.yaml is damaged.
    """
    found, settings = _written_down(folder), read_settings(folder)
    newest = Launch(
        command=str(settings.get("command", "")), environment=settings.get("environment") or {}
    )
    known = [dataclasses.replace(each, time=None) for each in found]
    return found if newest in known else [*found, newest]


def keep_launch(folder: StudyFolder, launch: Launch, changes: bytes) -> None:
    """Write a launch down beside those before it; call it before study.yaml has it.

    Args:
        folder: of the study.
        launch: the one that begins.
        changes: to the checkout that it runs with; if they are too many, their hash is all that
            is kept.
    """
    known = read_launches(folder) if folder.config.exists() else []
    for each in [*known[len(_written_down(folder)) :], launch]:
        append_json_line(folder.launches, each)
    before = folder.changes.read_bytes() if folder.changes.is_file() else b""
    if before not in (b"", changes):
        folder.changes.replace(folder.changes_of(_sha256(before)))
    if 0 < len(changes) <= MAX_CHANGES:
        with written_atomically(folder.changes) as temporary:
            temporary.write_bytes(changes)


def _written_down(folder: StudyFolder) -> list[Launch]:
    return read_json_lines(folder.launches, lambda row: decode(Launch, row))


def changes_file(folder: StudyFolder, digest: str) -> Path | None:
    """Return the file of the changes with a SHA-256; None if none is there, or it is damaged."""
    for path in (folder.changes, folder.changes_of(digest)):
        if path.is_file() and _sha256(path.read_bytes()) == digest:
            return path
    return None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
