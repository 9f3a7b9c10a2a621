"""Print the commands that make a study again, and what differs here from where it ran."""

import argparse
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diffrop.console.call import Call
from diffrop.console.commands import relative
from diffrop.console.configs import runs_root
from diffrop.console.options import add_options, command_parser
from diffrop.edge import errors_to_exit
from diffrop.provenance import differences, environment
from diffrop.record.next_step import repeat_command
from diffrop.record.settings import read_settings
from diffrop.record.study_folder import StudyFolder
from diffrop.study.config import check_name

CHANGED = "+changes"
"""Ends the commit of a checkout that was edited; see `diffrop.provenance.git_commit`."""


def parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    found = command_parser(command, __doc__, None)
    found.add_argument("name", metavar="STUDY", help="name of the study")
    add_options(found, "launch.runs_root")
    return found


def commands(folder: StudyFolder, settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is typed in a checkout, a line each; lines of a shell that are remarks, too.

    Args:
        folder: of the study.
        settings: what its study.yaml holds.
    """
    made_by = settings.get("environment") or {}
    commit = str(made_by.get("git_commit", "unknown"))
    if commit == "unknown":
        yield "# The commit is not known: an earlier version recorded none, or it was no checkout."
    else:
        yield f"git checkout {commit.removesuffix(CHANGED)}"
    if folder.changes.exists():
        yield f"git apply {shlex.quote(str(folder.changes.resolve()))}"
    elif made_by.get("git_changes"):
        yield "# The checkout had changes too large to keep; their SHA-256 is"
        yield f"# {made_by['git_changes']}."
    yield "make setup"
    yield "source .venv/bin/activate"
    command = str(settings.get("command", ""))
    yield (
        repeat_command(command, f"{settings['name']}-again")
        if command
        else ("# The command is not known: study.yaml holds none.")
    )


def remarks(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs here from where the newest launch ran, a line each."""
    made_by = settings.get("environment")
    if not isinstance(made_by, Mapping):
        yield "An earlier version ran it, which recorded neither packages nor machine."
        return
    found = differences(made_by, environment())
    yield "What differs here:" if found else "Nothing differs here."
    yield from (f"  {line}" for line in found)


def main(call: Call) -> int:
    """Print; return the exit code."""
    args = parser(call.command).parse_args(call.argv)
    with errors_to_exit(call.argv):
        folder = StudyFolder(relative(Path(runs_root(args)).resolve() / check_name(args.name)))
        settings = read_settings(folder)
        print(*commands(folder, settings), "", *remarks(settings), sep="\n")
        return 0
