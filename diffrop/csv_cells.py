"""Texts in the cells of CSV files, such that no spreadsheet takes one for a formula.

A text that begins with = + - @, a tab or a line's end gets an apostrophe in front of it, and
`plain` takes it away. Numbers, also negative ones, and a lone sign stay as they are.
"""

import csv
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r\n].", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def guarded(value: Any) -> Any:
    """Return what stands in the cell of a value."""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def plain(value: Any) -> Any:
    """Return the value of which `guarded` made a cell."""
    marked = isinstance(value, str) and value.startswith("'") and _FORMULA.match(value)
    return value[1:] if marked else value


def csv_text(frame: "pd.DataFrame") -> str:
    """Return a frame as the text of a CSV file, without its index."""
    guarded_texts = _mapped(frame, guarded)
    text = guarded_texts.to_csv(index=False)
    if "\r" in text:  # which pandas writes bare, and reads as the end of a line
        text = guarded_texts.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    return text


def plain_frame(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the frame of a file that `csv_text` made, as pandas reads it."""
    return _mapped(frame, plain)


def _mapped(frame: "pd.DataFrame", change: Callable[[Any], Any]) -> "pd.DataFrame":
    """Change the columns that hold a text; others would lose their type."""
    changed = frame.copy()
    for name in frame:
        if any(isinstance(value, str) for value in frame[name]):
            changed[name] = frame[name].map(change)
    return changed
