"""The command `diffrop`, and the scripts of studies/, which are the same commands.

A command is a module of `diffrop.commands`, imported when it is typed: help, the version and a
mistyped name are answered at once.
"""

import argparse
import ast
import difflib
import importlib
import importlib.util
import pkgutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from diffrop import commands
from diffrop.console.call import Call
from diffrop.edge import WRONG_INPUT, errors_to_exit

SHELLS = ("bash", "zsh")
"""For which `--print-completion` prints a script."""
HELP_WIDTH = 80
"""Columns of help, as in the commands' own."""
STUDY = "study"
"""First word of the commands that are studies."""
USAGE = """usage: {program} COMMAND [options]
       {program} COMMAND --help
       {program} [--help] [--version] [--print-completion {{{shells}}}]"""


class CommandModule(Protocol):
    """What a module of `diffrop.commands` offers."""

    def parser(self, command: str) -> argparse.ArgumentParser:
        """Return the parser of its options; `command` stands before them in its help."""

    def main(self, call: Call) -> int:
        """Do what was typed; return the exit code."""


def command_modules() -> dict[str, str]:
    """Return by command, such as "study tau", the name of its module; studies come first."""
    found = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))
    start = f"{STUDY}_"
    studies = {
        f"{STUDY} {name.removeprefix(start)}": name for name in found if name.startswith(start)
    }
    return studies | {name: name for name in found if not name.startswith(start)}


def load_command(name: str) -> CommandModule:
    """Return a command by its name, such as "study tau"."""
    module: CommandModule = importlib.import_module(
        f"{commands.__name__}.{command_modules()[name]}"
    )
    return module


def summary(name: str) -> str:
    """Return the first line of a command's docstring, without importing it."""
    spec = importlib.util.find_spec(f"{commands.__name__}.{command_modules()[name]}")
    assert spec is not None and spec.origin is not None
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text("utf-8"))) or ""
    return text.partition("\n")[0]


def help_text(program: str, start: str = "") -> str:
    """Return what `diffrop --help` prints, or of the commands that begin with a word.

    Args:
        program: what is typed before a command, such as `diffrop`.
        start: first word of the commands, such as "study"; empty for all.
    """
    names = [name for name in command_modules() if not start or name.split()[0] == start]
    width = max(map(len, names))
    indent = " " * (width + 4)
    lines = [
        textwrap.fill(f"  {name:{width}}  {summary(name)}", HELP_WIDTH, subsequent_indent=indent)
        for name in names
    ]
    usage = USAGE.format(program=program, shells=",".join(SHELLS))
    return "\n".join([usage, "", "commands:", *lines])


def whole_parser(program: str) -> argparse.ArgumentParser:
    """Return one parser of all commands, which shells complete by; it imports each."""
    import shtab

    whole = argparse.ArgumentParser(prog=program)
    whole.add_argument("--version", action="store_true", help="show the version and exit")
    whole.add_argument("--print-completion", choices=SHELLS, help="print a completion script")
    first = whole.add_subparsers()
    studies = first.add_parser(STUDY, help="a study").add_subparsers()
    for name in command_modules():
        last = name.split()[-1]
        into = first if last == name else studies
        own = load_command(name).parser(f"{program} {name}")
        into.add_parser(last, parents=[own], add_help=False, help=summary(name))
        for action in own._actions:  # noqa: SLF001 argparse lists them nowhere else
            if action.metavar in ("FILE", "DIR"):
                action.complete = shtab.FILE if action.metavar == "FILE" else shtab.DIRECTORY  # type: ignore[attr-defined]
    return whole


def run(argv: Sequence[str], program: str) -> int:
    """Run what was typed after `diffrop`; return the exit code."""
    names, words = command_modules(), list(argv)
    for count in (2, 1):
        name = " ".join(words[:count])
        if name in names:
            return load_command(name).main(Call(f"{program} {name}", words[count:]))
    with errors_to_exit(words):
        return _own(words, program)


def _own(words: list[str], program: str) -> int:
    """Answer what is no command of a module; return the exit code.

    Raises:
        ValueError: there is no such command.
    """
    start = STUDY if words[:1] == [STUDY] else ""
    match words[1:] if start else words:
        case []:
            print(help_text(program, start))
            return WRONG_INPUT
        case ["-h" | "--help", *_]:
            print(help_text(program, start))
        case ["--version"]:
            from diffrop.provenance import package_versions

            print(f"diffrop-studies {package_versions()['diffrop-studies']}")
        case ["--print-completion", shell] if shell in SHELLS:
            import shtab

            print(shtab.complete(whole_parser("diffrop"), shell))
        case _:
            typed = " ".join(words[: 2 if start else 1])
            nearest = difflib.get_close_matches(typed, command_modules(), n=1)
            hint = f"did you mean {nearest[0]}? " if nearest else ""
            raise ValueError(f"there is no command {typed!r}; {hint}`{program} --help` lists all")
    return 0


def script(name: str, path: str) -> int:
    """Run a command that was typed as a script of studies/; return the exit code.

    Args:
        name: of the command, such as "study tau".
        path: of the script.
    """
    return load_command(name).main(Call(f"python studies/{Path(path).name}", sys.argv[1:]))


def main() -> int:
    """Run the installed command; return the exit code."""
    return run(sys.argv[1:], "diffrop")
