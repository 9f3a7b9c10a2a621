"""What the tables on the terminal share: their look, and numbers that may be unknown."""

from rich.table import Table


def plain_table(gap: int = 1) -> Table:
    """Return a table without lines, with so many spaces between its columns."""
    return Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold")


def number(value: float | None, form: str) -> str:
    """Return a number as text, "-" for none."""
    return "-" if value is None else format(value, form)
