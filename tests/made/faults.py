"""Which test injects which fault: the numbered rows of docs/reliability.md, and their table.

A test declares the row that it proves by `@fault(2, "SIGKILL to the process that trains")`. What
was lost is said by `record_property(LOST, "...")`; a test that says nothing lost nothing.
`python -m tests.made.faults` writes into the page how each fault is injected, and
`make faults TABLE=write` what a run found as well.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.made.small import ROOT

PAGE = ROOT / "docs" / "reliability.md"
LOST = "lost"
"""The property of a test that says what was lost."""
ROW = re.compile(r"\| *(\d+) *\|")


def fault(row: int, injected: str) -> pytest.MarkDecorator:
    """Declare that a test injects a fault.

    Args:
        row: its number in docs/reliability.md.
        injected: how, in a few words that complete "it is injected by ...".
    """
    return pytest.mark.faults(row, injected)


@dataclass
class Outcome:
    """What the tests of one row did in this run."""

    injected: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)
    """The tests that failed."""
    skipped: list[str] = field(default_factory=list)

    @property
    def cells(self) -> tuple[str, str, str]:
        """How it was injected, what was lost, and the seconds, for the table."""
        lost = "; ".join(dict.fromkeys(self.lost)) or "nothing"
        if self.failed:
            lost = f"FAILED: {', '.join(self.failed)}"
        elif self.skipped:
            lost = f"not tried here: {', '.join(self.skipped)}"
        return "; ".join(dict.fromkeys(self.injected)), lost, f"{self.seconds:.0f}"


def page_rows(page: str) -> dict[int, list[str]]:
    """Return the cells of each numbered row: fault, injected, what happens, lost, seconds."""
    found: dict[int, list[str]] = {}
    for line in page.splitlines():
        if match := ROW.match(line):
            inner = line.strip().removeprefix("|").removesuffix("|")
            _, *cells = re.split(r"(?<!\\)\|", inner)
            found[int(match[1])] = [cell.strip() for cell in cells]
    return found


def filled(page: str, outcomes: Mapping[int, Outcome]) -> str:
    """Return the page with what a run found in the rows that it tried.

    The page itself owns the names of the faults and what happens then.
    """
    lines = []
    for line in page.splitlines():
        match = ROW.match(line)
        if match and int(match[1]) in outcomes:
            name, _, happens, _, _ = page_rows(line)[int(match[1])]
            injected, lost, seconds = map(_escaped, outcomes[int(match[1])].cells)
            line = f"| {match[1]} | {name} | {injected} | {happens} | {lost} | {seconds} |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Return text that may stand in a cell."""
    return text.replace("|", r"\|")


def with_declarations(page: str) -> str:
    """Return the page with how each fault is injected, as the tests declare it."""
    lines = page.splitlines()
    found = declared()
    for place, line in enumerate(lines):
        match = ROW.match(line)
        if match and (injected := found.get(int(match[1]))):
            name, _, happens, lost, seconds = page_rows(line)[int(match[1])]
            how = _escaped("; ".join(dict.fromkeys(injected)))
            lines[place] = f"| {match[1]} | {name} | {how} | {happens} | {lost} | {seconds} |"
    return "\n".join(lines) + "\n"


def declared(folder: Path = ROOT / "tests") -> dict[int, list[str]]:
    """Return how each row is injected, read from the sources of all tests."""
    found: dict[int, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for row, injected in _declarations(path):
            found.setdefault(row, []).append(injected)
    return found


def _declarations(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "fault":
            row, injected = (ast.literal_eval(argument) for argument in node.args)
            yield row, injected


class FaultTable:
    """The plugin that follows the tests that inject faults and prints their table."""

    def __init__(self, write: bool) -> None:
        """Write the table into the page as well, if asked to."""
        self._write = write
        self._rows: dict[str, Sequence[tuple[int, str]]] = {}
        self.outcomes: dict[int, Outcome] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note the rows of each test."""
        for item in items:
            marks = [mark.args for mark in item.iter_markers("faults")]
            self._rows[item.nodeid] = sorted(set(marks))  # type: ignore[arg-type]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add one phase of a test to its rows."""
        for row, injected in self._rows.get(report.nodeid, ()):
            outcome = self.outcomes.setdefault(row, Outcome())
            outcome.seconds += report.duration
            if injected not in outcome.injected:
                outcome.injected.append(injected)
            name = report.nodeid.rpartition("::")[2]
            if report.failed and name not in outcome.failed:
                outcome.failed.append(name)
            if report.skipped:
                outcome.skipped.append(name)
            if report.when == "call":
                outcome.lost += [str(text) for key, text in report.user_properties if key == LOST]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the rows that were tried, as the page has them, and name those that were not."""
        page = PAGE.read_text("utf-8")
        text = filled(page, self.outcomes)
        rows = page_rows(text)
        terminalreporter.section("faults")
        for number in sorted(self.outcomes):
            name, injected, happens, lost, seconds = rows.get(number, ["not listed", *"????"])
            terminalreporter.write_line(f"{number:3}  {name}: {injected}")
            terminalreporter.write_line(f"     {happens}")
            terminalreporter.write_line(f"     lost: {lost}; {seconds} s")
        left = sorted(page_rows(page).keys() - self.outcomes.keys())
        terminalreporter.write_line(f"not tried: {', '.join(map(str, left)) or 'none'}")
        if self._write:
            PAGE.write_text(text, "utf-8")


if __name__ == "__main__":  # what can be said without running anything
    PAGE.write_text(with_declarations(PAGE.read_text("utf-8")), "utf-8")
