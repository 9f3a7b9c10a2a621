"""The pages of docs/ as scripts: what a reader would save and type, from top to bottom."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.made.commands import SCRIPTS, command_name
from tests.made.small import ROOT

DOCS = ROOT / "docs"
HOW_TO = (
    DOCS / "tutorial.md",
    *sorted((DOCS / "how-to").glob("*.md")),
    DOCS / "cluster.md",
    DOCS / "extend.md",
    DOCS / "methods.md",
    DOCS / "baselines.md",
)
"""Pages whose every command is run by a test, or says what it needs that no test has."""
ELSEWHERE = re.compile(r"# needs .*\b(cluster|GPU|webhook|MLflow|weights)\b")
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
    """Yield the commands that a page types, on whatever machine: the name, and the options.

    The name is that of the command, such as "study tau", also where a script is typed; a script
    that is not there has its own.
    """
    for block in shell_blocks(page):
        for command in block.commands:
            words = shlex.split(command, comments=True)
            for place, word in enumerate(words):
                if match := re.fullmatch(r"studies/(\w+)\.py", word):
                    name = match.group(1)
                    yield command_name(name) if name in SCRIPTS else name, words[place + 1 :]
            if words[:1] == ["diffrop"] and not words[1].startswith("-"):
                count = 2 if words[1] == "study" else 1
                yield " ".join(words[1 : 1 + count]), words[1 + count :]


def diffs_of_extensions() -> dict[str, str]:
    """Return the diff of each section of docs/extend.md that has one, by its heading."""
    text = (DOCS / "extend.md").read_text("utf-8")
    parts = re.split(r"^## (.*)\n", text, flags=re.M)[1:]
    found = {}
    for heading, section in zip(parts[::2], parts[1::2], strict=True):
        diffs = re.findall(r"```diff\n(.*?)```", section, re.S)
        if diffs:
            (found[heading],) = diffs
    return found


def write_changed_checkout(folder: Path) -> Path:
    """Write a copy of the project with all changes of docs/extend.md; return its folder."""
    for name in ("diffrop", "analysis", "search_spaces", "studies", "tests/made"):
        for path in (ROOT / name).rglob("*"):
            target = folder / path.relative_to(ROOT)
            if path.is_symlink():  # such as diffrop/analysis, of a folder that is copied, too
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(path.readlink())
            elif path.is_file() and "__pycache__" not in path.parts:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    (folder / "tests" / "__init__.py").touch()
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    for heading, change in diffs_of_extensions().items():
        done = subprocess.run(
            ["git", "apply", "-"], cwd=folder, input=change, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{heading}: {done.stderr}"
    return folder
