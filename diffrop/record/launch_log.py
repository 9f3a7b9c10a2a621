"""study.log: what every launch of a study said, and the traces of its faults."""

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path


def add_to_log(path: Path, lines: Iterable[str]) -> None:
    """Append lines with the time; nothing where there is no folder, or no room on the disk."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    text = "".join(f"{now} {line}\n" for line in lines)
    if text:
        with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(text)
