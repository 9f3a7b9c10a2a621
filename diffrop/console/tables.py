"""What the tables on the terminal share: their look, and what goes where there is no room."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import JustifyMethod
from rich.table import Table


@dataclass(frozen=True)
class Column:
    """One column of a table that gives columns up where there is no room."""

    heading: str
    cells: list[str]
    importance: int
    """Where there is no room, the columns of the least go first."""
    is_text: bool = False

    @property
    def width(self) -> int:
        """Characters that the widest cell takes, or the heading."""
        return max(map(len, (self.heading, *self.cells)))


def plain_table(gap: int = 1) -> Table:
    """Return a table without lines, with so many spaces between its columns."""
    return Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold")


def fitted_table(columns: Sequence[Column], width: int) -> tuple[Table, list[str]]:
    """Return a table of the columns that fit, and the headings of those that do not.

    Whole columns give way and no cell is cut; of equal ones the last goes first.

    Args:
        columns: with equally many cells.
        width: columns of characters that there are.
    """
    shown = list(columns)
    while len(shown) > 1 and sum(column.width + 1 for column in shown) - 1 > width:
        least = min(column.importance for column in shown)
        shown.remove([column for column in shown if column.importance == least][-1])
    table = plain_table()
    for column in shown:
        side: JustifyMethod = "left" if column.is_text else "right"
        table.add_column(column.heading, justify=side, no_wrap=True)
    for cells in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*cells)
    return table, [column.heading for column in columns if column not in shown]


def number(value: float | None, form: str) -> str:
    """Return a number as text, "-" for none."""
    return "-" if value is None else format(value, form)
