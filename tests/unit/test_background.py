"""A function in a background process: what it costs, how it fails, and that it always ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from diffrop import background
from diffrop.background import NICENESS, BackgroundCall, Outcome
from tests.made import background_calls

CALLER = """
import sys, time
from diffrop.background import BackgroundCall
from tests.made.background_calls import dwell
call = BackgroundCall(dwell, sys.argv[1], "", cpu_s=60)
time.sleep(600)
"""


def ended(call: BackgroundCall) -> Outcome:
    while (outcome := call.poll()) is None:
        time.sleep(0.02)
    return outcome


def written(path: Path) -> str:
    """What a process has written, once it has."""
    while not path.exists() or not path.read_text():
        time.sleep(0.02)
    return path.read_text()


def gone(pid: int) -> bool:
    """Whether a process has ended, or waits for a parent to learn that it has."""
    status = Path("/proc", str(pid), "stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_call_is_of_low_priority_with_one_thread_and_no_gpu_and_tells_its_cost(
    tmp_path: Path,
) -> None:
    outcome = ended(
        BackgroundCall(background_calls.work, str(tmp_path), "3 of 9; 2 min left", cpu_s=60)
    )
    words, pid, nice, threads, *gpus = (tmp_path / "worked").read_text().split("\n")
    assert (words, threads, gpus) == ("3 of 9; 2 min left", "1", [""])
    assert int(nice) == min(19, os.nice(0) + NICENESS) and int(pid) != os.getpid()
    assert outcome.fault == "" and outcome.cpu_s > 0.2  # and its imports


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (background_calls.fail, "the figure has no axes"),
        (background_calls.crash, f"its process ended with code -{signal.SIGSEGV.value}"),
        (lambda folder, words: [], "unexpected AttributeError"),  # of no module
    ],
)
def test_fault_is_one_sentence(
    tmp_path: Path, function: Callable[[str, str], object], fault: str
) -> None:
    assert ended(BackgroundCall(function, str(tmp_path), "", cpu_s=60)).fault.startswith(fault)


def test_request_to_end_leaves_nothing_half_written(tmp_path: Path) -> None:
    call = BackgroundCall(background_calls.dwell, str(tmp_path), "", cpu_s=60)
    pid = int(written(tmp_path / "half-written"))
    assert call.poll() is None
    assert call.end().fault == ""
    assert gone(pid) and list(tmp_path.iterdir()) == []


def test_who_does_not_answer_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "END_S", 0.1)
    call = BackgroundCall(background_calls.insist, str(tmp_path), "", cpu_s=60)
    pid = int(written(tmp_path / "half-written"))
    assert call.end().fault == "" and gone(pid)


@pytest.mark.parametrize("function", [background_calls.burn, background_calls.burn_on])
def test_call_takes_no_more_processor_seconds_than_it_may(
    tmp_path: Path, function: Callable[[str, str], object]
) -> None:
    """It is asked to end first, and then what is half written goes; the kernel kills it last."""
    outcome = ended(BackgroundCall(function, str(tmp_path), "", cpu_s=2))
    assert outcome.used_up and outcome.fault == ""
    assert 0.7 < outcome.cpu_s < 2.3
    left = [path.name for path in tmp_path.iterdir()]
    assert left == ([] if function is background_calls.burn else ["half-written"])


def test_who_asks_a_call_to_end_did_not_use_it_up(tmp_path: Path) -> None:
    call = BackgroundCall(background_calls.insist, str(tmp_path), "", cpu_s=60)
    os.kill(int(written(tmp_path / "half-written")), signal.SIGKILL)
    outcome = ended(call)
    assert not outcome.used_up and outcome.fault == "its process ended with code -9"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_call_ends_with_its_caller_however_that_ends(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-c", CALLER, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as caller:
        pid = int(written(tmp_path / "half-written"))
        caller.send_signal(number)
        assert caller.wait() != 0
    until = time.monotonic() + 20
    while not gone(pid):
        assert time.monotonic() < until
        time.sleep(0.02)
