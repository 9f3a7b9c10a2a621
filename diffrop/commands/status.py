"""Show how a study stands, running or stopped, or list the studies of the runs folder."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from diffrop.console.call import Call
from diffrop.console.configs import given, runs_root
from diffrop.console.options import add_options, command_parser
from diffrop.console.terminal import Terminal
from diffrop.edge import errors_to_exit
from diffrop.study.config import check_name

if TYPE_CHECKING:
    from diffrop.console.status import NewStudyStatus, StudyStatus


def parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    found = command_parser(command, __doc__, None)
    found.add_argument("name", nargs="?", metavar="NAME", help="of the study (all, a line each)")
    add_options(found, "launch.runs_root", "launch.storage")
    found.add_argument("--json", action="store_true", help="all that is known, as JSON")
    return found


def as_json(status: "StudyStatus | NewStudyStatus | str") -> dict[str, Any]:
    """Return how a study stands, or {"error": why that is unknown}."""
    return {"error": status} if isinstance(status, str) else status.to_dict()


def show_all(root: Path, storage: str | None, as_lines: bool, console: Console) -> None:
    """Print a line for each study of a runs folder, or one JSON object of all."""
    from diffrop.console.status import all_statuses, studies_table

    statuses = all_statuses(root, storage)
    if not as_lines:
        print(json.dumps({name: as_json(found) for name, found in statuses.items()}))
    elif statuses:
        console.print(studies_table(statuses))
    else:
        console.print(f"There are no studies in {root}.")


def show_one(root: Path, name: str, storage: str | None, as_lines: bool, console: Console) -> None:
    """Print how one study stands, in lines and a table or as JSON.

    Raises:
        StudyError: there is no such study, or it cannot be read.
        ValueError: its name is not allowed, or its configuration cannot be read.
    """
    from diffrop.console.status import (
        NewStudyStatus,
        new_study_lines,
        status_lines,
        study_status,
        trials_table,
    )
    from diffrop.record.study_store import StudyStore

    status = study_status(StudyStore(root, check_name(name)), storage)
    if not as_lines:
        print(json.dumps(as_json(status)))
        return
    if isinstance(status, NewStudyStatus):
        for line in new_study_lines(status):
            console.print(line)
        return
    head, *others = status_lines(status)
    console.print(head)
    console.print(trials_table(status, console.width))
    for line in others:
        console.print(line, soft_wrap=line.startswith("Go on"))


def main(call: Call) -> int:
    """Print; return the exit code."""
    args, console = parser(call.command).parse_args(call.argv), Terminal()
    with errors_to_exit(call.argv):
        root, storage = runs_root(args), given(args, "launch").get("storage")
        if args.name is None:
            show_all(root, storage, not args.json, console)
        else:
            show_one(root, args.name, storage, not args.json, console)
        return 0
