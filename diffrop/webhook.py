"""Short messages to a webhook, sent beside the work: retried, and never waited for.

One request suits Slack, Discord and ntfy at the URLs that these give out. The body is JSON: Slack
shows its `text`, Discord its `content`, and ntfy puts `text` into the template that the headers
name (from version 2.10 on; Slack and Discord pass over them). The URL is a credential: it is in no
message, error or log of this module.
"""

import http.client
import json
import math
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 10.0
PAUSES_S = (1.0, 3.0, 10.0, 30.0)
"""Between the tries of one message, if the server does not ask for a longer one."""
LONGEST_PAUSE_S = 120.0
"""Of those that a server asks for."""
MOST_WAITING = 100
"""Messages; while a server is away, further ones are dropped."""
LONGEST = 1_900
"""Characters of a message; Discord takes 2,000."""
HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": "diffrop-studies",  # Discord refuses urllib's own
    "X-Template": "yes",
    "X-Message": "{{.text}}",
}
PLAIN = str.maketrans("<>&", "()+")
"""What Slack reads as marks; a link or a mention of all would begin with <."""


def check_url(url: str) -> str:
    """Return a URL that messages can be posted to.

    Raises:
        ValueError: it is none; the sentence does not hold it.
    """
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        fits = fits and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("the URL (which is not shown) is none; allowed: http(s)://HOST/...")
    return url


def payload(text: str) -> bytes:
    """Return the body of a message, cut to what all services take."""
    plain = text.translate(PLAIN)
    short = plain if len(plain) <= LONGEST else f"{plain[:LONGEST]} ..."
    body = {"text": short, "content": short, "allowed_mentions": {"parse": []}}
    return json.dumps(body).encode()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Gives a redirect back as an answer: urllib would go on by GET, without the message."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


class Webhook:
    """Sends messages from a thread of its own, in their order."""

    def __init__(
        self, url: str, timeout_s: float = TIMEOUT_S, pauses_s: Sequence[float] = PAUSES_S
    ) -> None:
        """Start to wait for messages.

        Args:
            url: http or https.
            timeout_s: longest wait for an answer.
            pauses_s: between the tries of a message, which is dropped after the last.

        Raises:
            ValueError: as `check_url`.
        """
        self._url, self._timeout_s, self._pauses_s = check_url(url), timeout_s, tuple(pauses_s)
        self._waiting: queue.Queue[str] = queue.Queue(MOST_WAITING)
        self._failures: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._opener = urllib.request.build_opener(_NoRedirect)
        threading.Thread(target=self._run, name="webhook", daemon=True).start()

    def send(self, text: str) -> None:
        """Have a message sent; returns at once."""
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            self._failures.put("too many wait")

    def failures(self) -> list[str]:
        """Return why messages were dropped since the last call, in a few words each."""
        found = []
        while not self._failures.empty():
            found.append(self._failures.get())
        return found

    def close(self, wait_s: float) -> None:
        """Give the messages that wait so many seconds, then drop them."""
        until = time.monotonic() + wait_s
        while self._waiting.unfinished_tasks and time.monotonic() < until:
            time.sleep(0.02)
        if self._waiting.unfinished_tasks:
            self._failures.put("no answer in time")
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                text = self._waiting.get(timeout=1.0)
            except queue.Empty:
                continue
            failure = self._sent(payload(text))
            if failure:
                self._failures.put(failure)
            self._waiting.task_done()

    def _sent(self, body: bytes) -> str:
        """Post a message; return why it was given up, or nothing."""
        failure, asked_s = "", 0.0
        for pause in (0.0, *self._pauses_s):
            if self._closed.wait(max(pause, asked_s)):
                break
            failure, asked_s = self._tried(body)
            if not failure or asked_s == math.inf:
                break
        return failure

    def _tried(self, body: bytes) -> tuple[str, float]:
        """Post once; return why that failed, and for how long the server asks to wait.

        It is for good where what was refused would be refused again.
        """
        request = urllib.request.Request(self._url, body, HEADERS, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                answer.read(1024)
            return "", 0.0
        except urllib.error.HTTPError as error:
            error.close()
            lasting = error.code < 500 and error.code not in (408, 425, 429)
            return f"HTTP {error.code}", math.inf if lasting else _asked_pause_s(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Its text may hold the URL.
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            return type(cause).__name__, 0.0


def _asked_pause_s(error: urllib.error.HTTPError) -> float:
    """Return for how long a server asks to wait, in seconds; a date is passed over."""
    try:
        asked_s = float(error.headers.get("Retry-After", "0"))
    except ValueError:
        return 0.0
    return min(max(asked_s, 0.0), LONGEST_PAUSE_S)
