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


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """Run a new, empty server; yields SQLAlchemy's URL of a database.

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
        nowhere = subprocess.DEVNULL
        server = subprocess.Popen(command, cwd=name, stdout=nowhere, stderr=nowhere, **who)
        try:
            _wait(port)
            yield f"postgresql+psycopg://test@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # it ends its connections
            server.wait(START_S)


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
