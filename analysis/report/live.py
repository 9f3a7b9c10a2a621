"""What the page of a running study has beside that of one that has ended."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from diffrop.storage import write_atomically

SCRIPT = Path(__file__).parent / "live.js"
RELOAD_S = 20
"""Seconds after which the page loads itself again."""
LIVE = re.compile(r'<p id="live".*?</p>', re.DOTALL)
"""The element of the page by which its script knows that it is live."""
ENDED = (
    '<p id="live">The study no longer runs, and this page has not been drawn since. It shows how '
    "the study stood before its end; diffrop report draws it anew.</p>"
)


@dataclass(frozen=True)
class Live:
    """How a running study stood when it was drawn."""

    standing: str
    """How far it was, as the sentence of `diffrop status` has it."""
    drawn_at: float
    """Seconds since 1970."""

    @property
    def time(self) -> str:
        """When it was drawn, on the clock of whoever drew it."""
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.drawn_at))


def end_live_page(page: Path) -> None:
    """Have a page that is live no longer say so; it may be all that is drawn of the study.

    Raises:
        OSError: it cannot be written.
    """
    if page.is_file():
        text = page.read_text(encoding="utf-8")
        ended = LIVE.sub(ENDED, text, count=1)
        if ended != text:
            write_atomically(page, ended)
