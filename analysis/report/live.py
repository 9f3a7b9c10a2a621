"""What the page of a running study has beside that of one that has ended."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from diffrop.printable import printable
from diffrop.storage import write_atomically, written_atomically

RELOAD_S = 20
"""Seconds after which the page loads itself again."""
LIVE = re.compile(r'<p id="live".*?</p>', re.DOTALL)
"""The element of the page by which its script knows that it is live."""
DRAWN = re.compile(r'data-drawn="(\d+)"')
FIRST = '<body data-page="first">'
"""What a page has that shows how far the study is, and was not drawn yet."""
ENDED = (
    '<p id="live">The study no longer runs, and this page has not been drawn since. It shows how '
    "the study stood before its end; diffrop report draws it anew.</p>"
)
ELEMENT = Markup(
    '<p id="live" data-reload-s="{}" data-drawn="{}"><b>Live</b> {}.\n<small>Drawn at {}'
    "<span data-age></span>. It is drawn anew while the study runs, and this page reloads itself."
    "</small></p>"
)


@dataclass(frozen=True)
class Live:
    """How a running study stands."""

    standing: str
    """How far it is, as the sentence of `diffrop status` has it."""
    drawn_at: float
    """When what the page shows was drawn, in seconds since 1970."""

    @property
    def element(self) -> Markup:
        """The page's element that says so, with the time on the clock of whoever drew it."""
        second = int(self.drawn_at)
        drawn = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        return ELEMENT.format(RELOAD_S, second, printable(self.standing), drawn)


def show_live(
    page: Path, name: str, standing: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Have a page say how far a running study is, which takes milliseconds.

    What was drawn stays as it is. Until then the page has the trials and no more.

    Args:
        page: it need not exist.
        name: of the study.
        standing: how far it is, a sentence without its full stop.
        columns: heads of the table of trials.
        rows: the trials, a text for each column.

    Raises:
        OSError: the page cannot be written.
    """
    text = page.read_text(encoding="utf-8", errors="replace") if page.is_file() else ""
    if "</h1>" not in text or FIRST in text:
        from diffrop.analysis.report.template import rendered

        content = {"name": name, "columns": columns, "rows": rows}
        now = rendered("first_page.html.j2", content | {"live": Live(standing, time.time())})
    else:
        said = LIVE.search(text)
        drawn = DRAWN.search(said[0]) if said else None
        drawn_at = float(drawn[1]) if drawn else page.stat().st_mtime
        element = str(Live(standing, drawn_at).element)
        start, end = said.span() if said else (text.index("</h1>") + len("</h1>"),) * 2
        now = text[:start] + element + text[end:]
    if now != text:
        with written_atomically(page, synced=False) as temporary:  # a disk may take seconds
            temporary.write_text(now, encoding="utf-8")


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
