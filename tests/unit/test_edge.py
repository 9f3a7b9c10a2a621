"""The edge of a command: every error is a sentence and an exit code, and no print fails."""

import errno
import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import optuna
import pandas as pd
import PIL
import pytest
import ray.exceptions
import sqlalchemy.exc
import yaml

from diffrop.edge import FAULT, WRONG_INPUT, errors_to_exit
from diffrop.errors import CheckpointError, FaultError, NonFiniteError, StorageError, StudyError
from tests.made.processes import run_bare
from tests.made.small import ROOT

DATABASE = sqlalchemy.exc.OperationalError(
    "SELECT 1", {}, sqlite3.OperationalError("database is locked\nand more")
)


@pytest.fixture(autouse=True)
def _temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (ValueError("a is 1; allowed: 2"), WRONG_INPUT, "a is 1; allowed: 2"),
        (CheckpointError("it is damaged"), WRONG_INPUT, "it is damaged"),
        (StudyError("it is running"), WRONG_INPUT, "it is running"),
        (yaml.scanner.ScannerError(None, None, "found a tab"), WRONG_INPUT, "found a tab"),
        (PIL.UnidentifiedImageError("no image in a.png"), WRONG_INPUT, "no image in a.png"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/a"), WRONG_INPUT, "'/a': No such file"),
        (PermissionError(errno.EACCES, "Permission denied"), WRONG_INPUT, "Permission denied"),
        (OSError(errno.ENOSPC, "No space left", b"/a"), FAULT, "b'/a': No space left"),
        (StorageError("out of reach"), FAULT, "out of reach"),
        (NonFiniteError("the loss is NaN"), FAULT, "the loss is NaN"),
        (FaultError("the prefix failed"), FAULT, "the prefix failed"),
        (DATABASE, FAULT, "the database failed .*OperationalError. database is locked.$"),
        (optuna.exceptions.StorageInternalError("gone"), FAULT, "Optuna failed .gone"),
        (ray.exceptions.RaySystemError("raylet died"), FAULT, "Ray failed .*raylet died"),
        (MemoryError(), FAULT, "no memory left"),
        (
            ImportError("libtorch_cpu.so: failed to map segment from shared object"),
            FAULT,
            "too little memory to load a library .libtorch_cpu.so: failed to map segment",
        ),
        (KeyError("fid/few"), FAULT, "unexpected KeyError .'fid/few'"),
        (RuntimeError("one\ntwo"), FAULT, "unexpected RuntimeError .one.$"),
        (AssertionError(), FAULT, "unexpected AssertionError .AssertionError."),
    ],
)
def test_every_error_ends_in_one_sentence_with_its_exit_code(
    error: Exception,
    code: int,
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended, errors_to_exit(["--x"]):
        raise error
    (line,) = capsys.readouterr().err.splitlines()
    traces = list(tmp_path.glob("diffrop-*.log"))
    assert ended.value.code == code
    assert line.startswith("error: ") and "Traceback" not in line
    assert len(traces) == (code == FAULT)
    shown = line.removeprefix("error: ")
    for path in traces:
        assert shown.endswith(f"; the trace is in {path}")
        shown = shown.removesuffix(f"; the trace is in {path}")
        assert type(error).__name__ in path.read_text() and " --x\n" in path.read_text()
    assert re.search(sentence, shown), shown


def test_value_error_of_a_library_is_a_fault_with_its_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "study.log"
    with pytest.raises(SystemExit) as ended, errors_to_exit() as edge:
        edge.log = log
        pd.DataFrame({"a": [1]}).assign(b=[1, 2])
    assert ended.value.code == FAULT
    assert capsys.readouterr().err.startswith("error: unexpected ValueError (Length of values")
    assert "pandas" in log.read_text()


def test_trace_goes_to_the_log_that_the_command_names_with_its_advice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # a later launch appends
        with pytest.raises(SystemExit), errors_to_exit(["--storage", "postgresql://me:pw@h"]) as e:
            e.log, e.advice = tmp_path / "study.log", "To go on, --resume."
            raise KeyError("postgresql://me:pw@h/db")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith(f"; the trace is in {tmp_path / 'study.log'}. To go on, --resume.")
    text = (tmp_path / "study.log").read_text()
    assert text.count("Traceback") == 2 and "pw@" not in text + lines[0]


def test_trace_is_shown_where_no_log_can_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit), errors_to_exit() as edge:
        edge.log = tmp_path / "no" / "folder.log"
        raise KeyError("a bug")
    assert "Traceback" in capsys.readouterr().err


def test_debug_shows_the_trace_of_wrong_input_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), errors_to_exit(["--debug"]):
        raise ValueError("a is 1")
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback") and shown.endswith("error: a is 1\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_in_one_sentence_and_exit_code_130(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended, errors_to_exit() as edge:
        edge.advice = "The same command begins again."
        os.kill(os.getpid(), number)
    assert ended.value.code == 130 and signal.getsignal(number) == before
    said = f"Interrupted by {number.name}. The same command begins again.\n"
    assert capsys.readouterr().err == said


PRINTS_ON = """
    import sys
    from diffrop.edge import errors_to_exit
    from rich.console import Console
    with errors_to_exit():
        console = Console()
        for number in range(20_000):
            print("line", number, flush=number % 100 == 0)
            console.print("line", number)
        print("left in the buffer")
        print("done", file=sys.stderr)
"""


@pytest.mark.parametrize("output", ["a closed pipe", "a full disk", "a closed file"])
def test_print_outlives_whoever_reads(output: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PRINTS_ON)]
    if output == "a closed pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open("/dev/full", os.O_WRONLY)
    close = (lambda: os.close(1)) if output == "a closed file" else None
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=close,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "done\n")


def test_error_with_lone_bytes_and_escape_sequences_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit), errors_to_exit():
        raise ValueError(f"no class {os.fsdecode(b'caf' + bytes([0xE9]))} \x1b[31m[bold]")
    assert capsys.readouterr().err == "error: no class caf\\udce9 \\x1b[31m[bold]\n"


def test_print_outlives_what_the_stream_cannot_encode() -> None:
    code = """
    from diffrop.edge import errors_to_exit
    with errors_to_exit():
        print(chr(0xDCE9), chr(0x732B), "and on")
    """
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert ended.stdout == "\\udce9 \\u732b and on\n"


def test_edge_imports_no_large_library() -> None:
    code = "import sys, diffrop.edge; print({'torch', 'ray', 'optuna', 'sqlalchemy', 'yaml'}"
    assert run_bare(f"{code} & set(sys.modules))").strip() == "set()"


def test_warnings_of_the_project_are_sentences() -> None:
    program = """
        import warnings
        from pathlib import Path
        from diffrop.edge import errors_to_exit
        from diffrop.record.kinds import name_damage
        with errors_to_exit():
            name_damage(Path("runs/s/fidelity.json"), "it is empty")
            warnings.warn("from elsewhere")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, *_ = done.stderr.splitlines()
    assert first.startswith("warning: runs/s/fidelity.json is damaged (it is empty); the next")
    assert second.endswith("UserWarning: from elsewhere")
