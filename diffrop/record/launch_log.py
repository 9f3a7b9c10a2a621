"""study.log: what every launch of a study said, and the traces of its faults."""

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path


def add_to_log(path: Path, lines: Iterable[str]) -> None:
    """Append lines with the time; nothing where there is no folder, or no room on the disk."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    text = "".join(f"{now} {line}\n" for line in lines)
    if text:
        with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(text)


class _ToLog(logging.Handler):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        add_to_log(self._path, self.format(record).splitlines())


@contextlib.contextmanager
def logged_apart(library: str, path: Path) -> Iterator[None]:
    """Have what a library says, with its traces, in study.log and not on the screen.

    Args:
        library: name of its logger.
        path: of study.log.
    """
    logger, handler = logging.getLogger(library), _ToLog(path)
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
