"""Noticing that a server is gone."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from diffrop.execution import watch


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as made:
        yield made


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "INTERVAL_S", 0.01)


def test_server_that_is_gone_is_named_once(server: socket.socket) -> None:
    lost: list[str] = []
    called = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as other:
        servers = {"a": server.getsockname(), "b": other.getsockname()}

        def note(name: str) -> None:
            lost.append(name)
            called.set()

        with watch.watched(servers, 0.05, note):
            assert not called.wait(0.3)  # nobody accepts, and they count as there all the same
            other.close()
            assert called.wait(20)
    assert lost == ["b"]


def test_nothing_is_lost_once_the_watch_has_ended(server: socket.socket) -> None:
    lost: list[str] = []
    with watch.watched({"a": server.getsockname()}, 0.0, lost.append):
        pass
    server.close()
    assert lost == []


def test_program_ends_with_one_sentence_although_nobody_reads() -> None:
    code = "from diffrop.execution.watch import end_program as end; end('gone'); print('after')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (1, "", "error: gone\n")
    closed = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert closed.stderr is not None
    closed.stderr.close()
    assert closed.wait(timeout=60) == 1
