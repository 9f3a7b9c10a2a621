"""Noticing that a cluster is lost, before Ray ends the program with a message of its own."""

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import psutil

Address = tuple[str, int]
"""Host and port."""

INTERVAL_S = 1.0
CONNECT_S = 5.0
"""Seconds in which a connection has to be made."""


@contextlib.contextmanager
def watched(
    servers: Mapping[str, Address], patience_s: float, lost: Callable[[str], object]
) -> Iterator[None]:
    """Call `lost`, once, with the name of a server that takes no connection for so long.

    A server that is busy still takes connections: its operating system does so for it.

    Args:
        servers: what is needed, by name.
        patience_s: how long each may be away.
        lost: called in a thread of its own.
    """
    ended = threading.Event()

    def watch() -> None:
        seen = dict.fromkeys(servers, time.monotonic())
        while not ended.wait(INTERVAL_S):
            for name, address in servers.items():
                if takes_connections(address):
                    seen[name] = time.monotonic()
                elif time.monotonic() - seen[name] > patience_s and not ended.is_set():
                    lost(name)
                    return

    thread = threading.Thread(target=watch, daemon=True, name="cluster-watch")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def takes_connections(address: Address) -> bool:
    """Return whether somebody listens there."""
    try:
        socket.create_connection(address, timeout=CONNECT_S).close()
    except OSError:
        return False
    return True


def end_program(sentence: str) -> None:
    """Say one sentence and end at once, with all that this process has started, and exit code 1.

    As after SIGKILL, the records are whole: each is written at once or not at all. An orderly end
    would wait for a cluster that does not answer, until Ray ends the program without a word; what
    is left of a local cluster would wait for what it lost, for a minute.
    """
    with contextlib.suppress(OSError, ValueError):  # nobody may be reading
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        print(f"error: {sentence}", file=sys.stderr, flush=True)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    os._exit(1)
