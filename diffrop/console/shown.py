"""The screen of a command that works; what shows it is imported when it is opened."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console

from diffrop.activity import Tell
from diffrop.console.terminal import Terminal

if TYPE_CHECKING:
    from diffrop.engine.progress import Screen

LOADING = "loading libraries"
"""What every command does first that takes long."""


@contextlib.contextmanager
def command_screen(console: Console) -> "Iterator[Screen]":
    """Open a command's screen before its large libraries are imported; close it at the end."""
    from diffrop.console.screens import open_screen

    with contextlib.closing(open_screen("lines", console)) as screen:
        screen.working(LOADING)
        yield screen


@contextlib.contextmanager
def told_apart() -> Iterator[Tell]:
    """Have what a command does shown on standard error, where its output is results alone.

    These are printed once it is over: on a terminal the screen takes all that is printed.
    """
    with command_screen(Terminal(stderr=True)) as screen:
        yield screen.working
