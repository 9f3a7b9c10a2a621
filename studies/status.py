"""Show how a study stands, running or stopped, or list the studies of the runs folder."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from diffrop.console.options import Formatter
from diffrop.console.status import (
    StudyStatus,
    all_statuses,
    status_lines,
    studies_table,
    study_status,
    trials_table,
)
from diffrop.errors import errors_to_exit
from diffrop.record.study_store import StudyStore
from diffrop.study.config import check_name


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the parsed options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("name", nargs="?", metavar="NAME", help="of the study (all, a line each)")
    parser.add_argument(
        "--runs-root",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="folder of all studies (runs)",
    )
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="Optuna's, such as postgresql://... (SQLite in the study's folder)",
    )
    parser.add_argument("--json", action="store_true", help="all that is known, as JSON")
    return parser.parse_args(argv)


def as_json(status: StudyStatus | str) -> dict[str, Any]:
    """Return how a study stands, or {"error": why that is unknown}."""
    return {"error": status} if isinstance(status, str) else status.to_dict()


def main(argv: list[str]) -> int:
    """Print; return the exit code."""
    args, console = parse(argv), Console(highlight=False)
    root = args.runs_root
    with errors_to_exit():
        if args.name is None:
            statuses = all_statuses(root, args.storage)
            if args.json:
                print(json.dumps({name: as_json(found) for name, found in statuses.items()}))
            elif statuses:
                console.print(studies_table(statuses))
            else:
                console.print(f"There are no studies in {root}.")
            return 0
        status = study_status(StudyStore(root, check_name(args.name)), args.storage)
    if args.json:
        print(json.dumps(as_json(status)))
        return 0
    head, *rest = status_lines(status)
    console.print(head)
    console.print(trials_table(status))
    for line in rest:
        console.print(line, soft_wrap=line.startswith("Go on"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
