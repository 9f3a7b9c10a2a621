"""A PostgreSQL server of its own for a test, on loopback; from Debian's package postgresql."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

START_S = 60


def _program(name: str) -> str:
    """Return a server program's path; skips the test where there is none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *map(str, folders)]))
    if found is None:
        pytest.skip(f"PostgreSQL's {name} is not installed (Debian: postgresql)")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server that can be stopped and started again; its data stay."""

    def __init__(self, command: list[str], folder: str, port: int, who: dict[str, Any]) -> None:
        self._command, self._folder, self._port, self._who = command, folder, port, who
        self.url = f"postgresql+psycopg://test@127.0.0.1:{port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        nowhere = subprocess.DEVNULL
        self._process = subprocess.Popen(
            self._command, cwd=self._folder, stdout=nowhere, stderr=nowhere, **self._who
        )
        _wait(self._port)

    def stop(self) -> None:
        """Stop it; it ends its connections."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(START_S)


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """Run a new, empty server; yields SQLAlchemy's URL of a database."""
    with new_server() as server:
        yield server.url


@contextlib.contextmanager
def new_server() -> Iterator[Server]:
    """Run a new, empty server.

    It refuses to run as root, and then runs as the package's own user.
    """
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra postgresql)")
    initdb, postgres = _program("initdb"), _program("postgres")
    who: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        if os.geteuid() == 0:
            who = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(name, "postgres", "postgres")
        data, port = f"{name}/data", _free_port()
        making = [initdb, "-D", data, "-U", "test", "-A", "trust", "--no-sync", "--encoding=UTF8"]
        subprocess.run(making, check=True, capture_output=True, cwd=name, **who)
        options = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "fsync": "off",
            "unix_socket_directories": name,
        }
        command = [postgres, "-D", data]
        for key, value in options.items():
            command += ["-c", f"{key}={value}"]
        server = Server(command, name, port, who)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _wait(port: int) -> None:
    import psycopg

    deadline = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(f"postgresql://test@127.0.0.1:{port}/postgres").close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
