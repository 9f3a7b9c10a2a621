"""The pages of docs/ as scripts: what a reader would save and type, from top to bottom."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.made.small import ROOT

DOCS = ROOT / "docs"
HOW_TO = (
    DOCS / "tutorial.md",
    *sorted((DOCS / "how-to").glob("*.md")),
    DOCS / "cluster.md",
    DOCS / "extend.md",
)
"""Pages whose every command is run by a test, or says what it needs that no test has."""
ELSEWHERE = re.compile(r"# needs a (cluster|GPU)\b")
"""First line of a block that no test can run."""
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.S | re.M)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    title: str
    """The file that the reader saves it as; empty for none."""
    text: str

    @property
    def runs_here(self) -> bool:
        """Whether it needs nothing that a machine with CPUs lacks."""
        return ELSEWHERE.match(self.text) is None

    @property
    def commands(self) -> list[str]:
        """The commands, each in one line."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


def blocks(page: Path, language: str) -> list[Block]:
    """Return the fenced blocks of a language."""
    found = [Block(*parts) for parts in BLOCK.findall(page.read_text("utf-8"))]
    return [block for block in found if block.language == language]


def shell_blocks(page: Path) -> list[Block]:
    """Return what is typed."""
    return blocks(page, "bash")


def save_files(page: Path, folder: Path) -> None:
    """Save the files that a page gives."""
    for block in blocks(page, "yaml"):
        if block.title:
            (folder / block.title).write_text(block.text, "utf-8")


def calls(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of studies/ that a page types, on whatever machine: name and options."""
    for block in shell_blocks(page):
        for command in block.commands:
            words = shlex.split(command, comments=True)
            for place, word in enumerate(words):
                if match := re.fullmatch(r"studies/(\w+)\.py", word):
                    yield match.group(1), words[place + 1 :]
