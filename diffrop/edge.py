"""The edge of a command: whatever happens inside becomes one sentence and an exit code.

It imports no large library: errors of theirs are known by the package that defines them.
"""

import contextlib
import errno
import os
import shlex
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from diffrop.errors import DiffropError
from diffrop.file_rights import keep_others_out
from diffrop.printable import printable
from diffrop.redaction import hide, storable_words
from diffrop.signals import answered, interrupting

WRONG_INPUT, FAULT, INTERRUPTED = 2, 1, 130
"""Exit codes: the command or its files must change; something else failed; a signal ended it."""

OURS = "diffrop"
"""The package whose ValueErrors tell of wrong input."""

LONGEST = 300
"""Characters of another library's message that are shown; the trace has all of it."""

LIBRARIES = {
    "yaml": (WRONG_INPUT, "a YAML file cannot be read"),
    "PIL": (WRONG_INPUT, "an image cannot be read"),
    "sqlalchemy": (FAULT, "the database failed"),
    "psycopg": (FAULT, "the database failed"),
    "psycopg2": (FAULT, "the database failed"),
    "sqlite3": (FAULT, "the database failed"),
    "optuna": (FAULT, "Optuna failed"),
    "ray": (FAULT, "Ray failed"),
    "mlflow": (FAULT, "MLflow failed"),
    "pyarrow": (FAULT, "the storage failed"),
}
"""By package: the exit code and the beginning of the sentence for an error that it defines."""

USERS_PATH = (
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EROFS,
)
"""What is wrong with a path that was named, rather than with a disk."""

NO_MEMORY = ("failed to map segment", "cannot allocate memory", "cannot map")
"""What the loader of libraries says where a process may have no more memory."""

GONE = (errno.EPIPE, errno.EIO, errno.EBADF)
"""What a write says once nobody reads: of a pipe, of a closed terminal."""


@dataclass
class Edge:
    """What a command tells of itself, for the case that it ends early."""

    log: Path | None = None
    """The file for the trace of a fault; one in the folder for temporary files while there is
    none, or while its folder does not exist."""
    advice: str = ""
    """What to do after a fault or a signal; a sentence, or nothing."""


@contextlib.contextmanager
def errors_to_exit(argv: Sequence[str] = ()) -> Iterator[Edge]:
    """Run a command; whatever ends it early is said in one sentence, with an exit code.

    It is 2 if the command or what it names has to change, 1 after any other fault, whose trace is
    then in a log file that the sentence names, and 130 after Ctrl-C, SIGTERM or SIGHUP. Output
    that nobody reads any more is let go. No file is made that everybody may write.

    Args:
        argv: the command's options; with --debug among them the trace is shown.
    """
    edge = Edge()
    keep_others_out()
    with lasting_output(), plain_warnings(), answered(interrupting()):
        try:
            yield edge
        except KeyboardInterrupt as error:
            _show_trace(argv)
            name = f" by {error}" if str(error) else ""
            _say(f"Interrupted{name}.", edge.advice)
            raise SystemExit(INTERRUPTED) from error
        except Exception as error:
            code, sentence = described(error)
            advice = ""
            if code == FAULT:
                sentence += f"; the trace is in {_written_trace(edge.log, argv)}"
                advice = f". {edge.advice}" if edge.advice else ""
            _show_trace(argv)
            _say(f"error: {sentence}{advice}")
            raise SystemExit(code) from error


def described(error: Exception) -> tuple[int, str]:
    """Return the exit code of an error, and the sentence that says what happened."""
    if isinstance(error, DiffropError):
        return error.exit_code, str(error)
    for kind in type(error).__mro__:
        if (package := kind.__module__.partition(".")[0]) in LIBRARIES:
            code, words = LIBRARIES[package]
            return code, f"{words} ({_first_words(error)})"
    if isinstance(error, OSError) and error.errno is not None:
        cause = error.strerror or os.strerror(error.errno)
        place = f"{os.fspath(error.filename)!r}: " if error.filename is not None else ""
        return WRONG_INPUT if error.errno in USERS_PATH else FAULT, f"{place}{cause}"
    if isinstance(error, ValueError) and not _raised_by_library(error):
        return WRONG_INPUT, str(error)
    if isinstance(error, MemoryError):
        return FAULT, "there is no memory left"
    if isinstance(error, ImportError) and any(words in str(error) for words in NO_MEMORY):
        return FAULT, f"there is too little memory to load a library ({_first_words(error)})"
    return FAULT, f"unexpected {type(error).__name__} ({_first_words(error)})"


def _raised_by_library(error: Exception) -> bool:
    """Whether a ValueError comes from the depths of an installed library.

    That is a fault of ours, for wrong input is found before it gets there.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    frame = frames[-1] if frames else None
    if frame is None or frame.f_globals.get("__name__", "").partition(".")[0] == OURS:
        return False
    return "site-packages" in Path(frame.f_code.co_filename).parts


def _first_words(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return hide(lines[0], "")[:LONGEST] if lines else type(error).__name__


def _say(*sentences: str) -> None:
    print(*map(printable, filter(None, sentences)), file=sys.stderr, flush=True)


def _show_trace(argv: Sequence[str]) -> None:
    if "--debug" in argv:
        print(hide(traceback.format_exc(), ""), file=sys.stderr, end="")


def _written_trace(log: Path | None, argv: Sequence[str]) -> str:
    """Append the trace of the present exception to the log; return where it is."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    text = f"{now} {shlex.join(storable_words(argv))}\n{hide(traceback.format_exc(), '')}\n"
    with contextlib.suppress(OSError):
        if log is not None and log.parent.is_dir():
            with log.open("a", encoding="utf-8") as file:
                file.write(text)
            return str(log)
    with contextlib.suppress(OSError):
        descriptor, name = tempfile.mkstemp(prefix="diffrop-", suffix=".log")
        os.write(descriptor, text.encode())
        os.close(descriptor)
        return name
    print(text, file=sys.stderr)
    return "the lines above, for no log file can be written"


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Show the project's own warnings as sentences, without the line of code that gave them."""
    before = warnings.formatwarning

    def formatted(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if Path(__file__).parent in Path(filename).parents:
            return f"warning: {printable(str(message))}\n"
        return before(message, category, filename, lineno, line)

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = before


class LastingStream:
    """Standard output or error, which outlives whoever reads it."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream` for as long as that works."""
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        """Be the stream in all that is not said here."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or let the text go; what the stream cannot encode stands as an escape."""
        with self._letting_go():
            try:
                self._stream.write(text)
            except UnicodeEncodeError as error:
                known = text.encode(error.encoding, "backslashreplace")
                self._stream.write(known.decode(error.encoding))
        return len(text)

    def flush(self) -> None:
        """Flush, or let go what cannot be written."""
        with self._letting_go():
            self._stream.flush()

    def finish(self) -> None:
        """Flush for the last time: what is left would make the interpreter end with an error."""
        try:
            self._stream.flush()
        except OSError:
            self._read_by_nobody()

    @contextlib.contextmanager
    def _letting_go(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # on a full disk it may work again later
            if error.errno in GONE:
                self._read_by_nobody()

    def _read_by_nobody(self) -> None:
        """Lead the stream to nowhere, with what is still in its buffer."""
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream.flush()


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Let no print fail: a closed pipe or terminal, or a full disk, costs the print alone."""
    before = sys.stdout, sys.stderr
    lasting = [None if stream is None else LastingStream(stream) for stream in before]
    sys.stdout, sys.stderr = lasting
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in filter(None, lasting):
            stream.finish()
