"""Print the commands that make a study again, and what differs here from where it ran."""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from diffrop.console.call import Call
from diffrop.console.commands import relative
from diffrop.console.configs import runs_root
from diffrop.console.option_table import OPTIONS
from diffrop.console.options import add_options, command_parser
from diffrop.console.typed import at_least_1
from diffrop.edge import errors_to_exit
from diffrop.extras import PACKAGE
from diffrop.provenance import differences, environment
from diffrop.record.launches import Launch, changes_file, read_launches
from diffrop.record.next_step import repeat_command
from diffrop.record.settings import config_of, read_settings
from diffrop.record.study_folder import StudyFolder
from diffrop.schema import flatten, require
from diffrop.study.config import StudyConfig, check_name
from diffrop.yaml_text import yaml_text

CHANGED, UNKNOWN = "+changes", "unknown"
"""Ends the commit of a checkout that was edited; stands for it where there was no checkout. See
`diffrop.provenance.git_commit`."""
SCRIPTS = "python studies/"
"""Begins a command that only a checkout has."""
PATHS = (
    "data.root",
    "data.reference_root",
    "training.init_from",
    "evaluation.extractor_weights",
)
"""Keys whose options name files, which a command may name from the folder where it was typed."""
SPACE, POINTS = "space.yaml", "points.yaml"


def parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    found = command_parser(command, __doc__, None)
    found.add_argument("name", metavar="STUDY", help="name of the study")
    words = "which of its launches, by number (the newest)"
    found.add_argument("--launch", type=at_least_1, metavar="N", help=words)
    add_options(found, "launch.runs_root")
    return found


def commands(folder: StudyFolder, config: StudyConfig, launch: Launch) -> Iterator[str]:
    """Yield what is typed to make a study again, a line each; lines that are remarks, too.

    Args:
        folder: of the study.
        config: of it.
        launch: the one that is to be made again.
    """
    name = f"{config.name}-again"
    yield from _code(folder, launch, name)
    yield from _needed(folder, config)
    yield from _written(SPACE, config.space.text())
    if config.points:
        yield from _written(POINTS, yaml_text([dict(point) for point in config.points]))
    yield (
        repeat_command(launch.command, name, _recorded(config))
        if launch.command
        else "# The command is not known: study.yaml holds none."
    )


def _code(folder: StudyFolder, launch: Launch, name: str) -> Iterator[str]:
    """Yield what brings the code of a launch, and its packages, into a folder of that name."""
    made_by = launch.environment
    commit = str(made_by.get("git_commit", UNKNOWN))
    version = (made_by.get("packages") or {}).get(PACKAGE)
    if commit == UNKNOWN and version and not launch.command.startswith(SCRIPTS):
        yield "# It ran without a checkout: take that version from an index, or name its wheel."
        yield f"mkdir {name} && cd {name}"
        yield "python -m venv .venv"
        yield "source .venv/bin/activate"
        yield f"python -m pip install {PACKAGE}=={version}"
        return
    if commit == UNKNOWN:
        yield "# The commit is not known: an earlier version recorded none, or it was no checkout."
    else:
        yield f"git worktree add --detach ../{name} {commit.removesuffix(CHANGED)}"
        yield f"cd ../{name}"
    if digest := str(made_by.get("git_changes") or ""):
        changes = changes_file(folder, digest)
        if changes is not None:
            yield f"git apply {shlex.quote(str(changes.resolve()))}"
        else:
            yield "# The checkout had changes that are lost, or were too large to keep:"
            yield f"# SHA-256 {digest}"
    if untracked := made_by.get("git_untracked"):
        yield "# Neither commit nor changes have these files, which git did not track:"
        yield f"# {', '.join(map(str, untracked))}"
    yield "make setup"
    yield "source .venv/bin/activate"


def _needed(folder: StudyFolder, config: StudyConfig) -> Iterator[str]:
    """Yield what a study had beside its code and configuration."""
    if config.warm_start:
        earlier = ", ".join(
            str((folder.path.parent / name).resolve()) for name in config.warm_start
        )
        yield f"# It learned from earlier studies; copy them into its runs folder: {earlier}"
    if ":" in config.experiment.evaluation.extractor:
        yield f"# Its extractor is code of its own: {config.experiment.evaluation.extractor}"


def _written(name: str, content: str) -> Iterator[str]:
    """Yield the lines of a shell that write a file."""
    yield f"cat > {name} <<'END'"
    yield from content.rstrip("\n").split("\n")
    yield "END"


def _recorded(config: StudyConfig) -> dict[str, str]:
    """Return the options that name files, with what the study's record knows of them."""
    values = flatten(config.experiment.to_dict())
    named = {OPTIONS[key].flags: values[key] for key in PATHS}
    named[OPTIONS["study.fork_from"].flags] = config.fork_from
    found = {flag: path for flag, path in named.items() if path and Path(path).is_absolute()}
    found[OPTIONS["study.space"].flags] = SPACE
    return found | ({OPTIONS["study.points"].flags: POINTS} if config.points else {})


def remarks(launches: Sequence[Launch], chosen: Launch) -> Iterator[str]:
    """Yield what differs here from where a launch ran, a line each, and which others differ."""
    if not chosen.environment:
        yield "An earlier version ran it, which recorded neither packages nor machine."
        return
    found = differences(chosen.environment, environment())
    yield "What differs here:" if found else "Nothing differs here."
    yield from (f"  {line}" for line in found)
    others = [
        str(number)
        for number, each in enumerate(launches, start=1)
        if each.environment != chosen.environment
    ]
    if others:
        yield (
            f"Of its {len(launches)} launches these ran on something else: {', '.join(others)}; "
            "--launch N prints one."
        )


def main(call: Call) -> int:
    """Print; return the exit code."""
    args = parser(call.command).parse_args(call.argv)
    with errors_to_exit(call.argv):
        folder = StudyFolder(relative(Path(runs_root(args)).resolve() / check_name(args.name)))
        config, launches = config_of(folder, read_settings(folder)), read_launches(folder)
        number = args.launch or len(launches)
        require(number <= len(launches), "--launch", number, f"1 to {len(launches)}")
        chosen = launches[number - 1]
        print(*commands(folder, config, chosen), "", *remarks(launches, chosen), sep="\n")
        return 0
