"""The terminal that all commands print on: every text stands there as it is."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from diffrop.printable import printable

TABLE_WIDTH = 80
"""Columns in which every table fits."""


class Terminal(Console):
    """A console without markup, highlights and codes of emoji.

    What a stream's encoding lacks stands as an escape.
    """

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        """Print on standard output, or on standard error; `options` as rich's console has them."""
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; a table has its 80 columns on a narrower terminal too, where its lines break.

        Rich would cut the numbers in it.
        """
        if self.width < TABLE_WIDTH and any(isinstance(each, Table) for each in objects):
            Terminal(file=self.file, width=TABLE_WIDTH).print(*objects, **options)
        else:
            super().print(*objects, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a text of what is printed, and of what stands in the cells of a table."""
        shown = printable(text).encode(self.encoding, "backslashreplace").decode(self.encoding)
        plain = {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(shown, **(options | plain))


def as_it_is(text: str) -> Text:
    """Return a text that any console, also one with markup, prints as it is."""
    return Text(printable(text))
