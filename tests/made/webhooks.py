"""A server of this machine that takes messages as Slack, Discord and ntfy do."""

import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "T00-c4n4ry-s3cret"
"""Of every URL, and in no message, log or file."""


@dataclass
class Received:
    """What a server was sent, and how it answers."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    """Status of the next answers, then 200; 0 gives none for a second."""
    retry_after: str | None = None
    """What answers other than 200 ask for."""
    arrived: list[float] = field(default_factory=list)
    """When each request did, on the monotonic clock."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """The messages, those of answers other than 200 included."""
        return [str(request["text"]) for request in self.requests]

    def wait_for(self, count: int, wait_s: float = 30.0) -> list[str]:
        """Return the messages once there are so many."""
        until = time.monotonic() + wait_s
        while len(self.requests) < count and time.monotonic() < until:
            time.sleep(0.01)
        assert len(self.requests) >= count, self.texts
        return self.texts


@contextmanager
def receiving(*answers: int) -> Iterator[Received]:
    """Run a server until the block ends."""
    received = Received(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.arrived.append(time.monotonic())
            received.requests.append(json.loads(body))
            received.headers.append(dict(self.headers.items()))
            received.paths.append(self.path)
            status = received.answers.pop(0) if received.answers else 200
            if status == 0:
                time.sleep(1.0)
                return
            self.send_response(status)
            if status != 200 and received.retry_after is not None:
                self.send_header("Retry-After", received.retry_after)
            if status in (301, 302):
                self.send_header("Location", received.url)
            self.end_headers()

        def do_GET(self) -> None:
            raise AssertionError("a redirect was followed")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.url = f"http://127.0.0.1:{server.server_port}/services/{SECRET}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()


def as_shown(service: str, request: dict[str, Any], headers: dict[str, str]) -> str:
    """Return what a service shows of a message, by its documentation."""
    if service == "slack":
        return str(request["text"])
    if service == "discord":
        return str(request["content"])
    assert headers["X-Template"] == "yes"  # ntfy fills the template from the body
    return re.sub(r"\{\{\.(\w+)\}\}", lambda key: str(request[key[1]]), headers["X-Message"])


def written_below(folder: Any, words: Sequence[str]) -> list[str]:
    """Return the files of a folder that hold one of the words."""
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and any(word.encode() in path.read_bytes() for word in words)
    ]
