"""A study from Python, as in a notebook: what `diffrop study` does, and nothing else."""

import argparse
import contextlib
import functools
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.console.call import Call
from diffrop.console.commands import StudyCommand, notify_url
from diffrop.console.configs import on_this_machine
from diffrop.console.terminal import Terminal
from diffrop.edge import Edge
from diffrop.main import STUDY, command_modules, load_command
from diffrop.study.config import LaunchConfig, StudyConfig

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NOT_HERE = ("help", "version", "debug", "dry_run", "json")
"""Options that print something else than a study's course."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a study left in its folder."""

    study: StudyResults
    """All of it, as `diffrop.analysis.data.load.load_study` reads it."""

    @property
    def frame(self) -> "pd.DataFrame":
        """The trials, one row each: `StudyFrames.trials` says what the columns are."""
        return self.study.trials

    @property
    def best(self) -> dict[str, Any]:
        """best.yaml; empty before a trial has its full score.

        It is of the confirmed best, of the baseline where a confirmation named none, and without a
        confirmation of the search's leader. It holds `config`, `omega`, and as `provenance` the
        trial, its value and the baseline's.
        """
        return self.study.best

    @functools.cached_property
    def figures(self) -> "dict[str, Figure]":
        """The figures that the study has something for, by name; drawn when first asked for."""
        from diffrop.analysis.figures.drawing import draw_figures

        return {item.name: figure for item, figure in draw_figures(self.study)}


def read_result(directory: Path | str) -> Result:
    """Read what a study, finished or not, left in its folder.

    Args:
        directory: such as "runs/s1".

    Raises:
        ValueError: the folder is no study, or it has no results yet.
        StudyError: a file of it is damaged.
    """
    return Result(load_study(Path(directory)))


class Study:
    """A study, given by the options of `diffrop study`.

    ```python
    import diffrop

    study = diffrop.Study(space="my_space.yaml", dataset="digits", trials=6, study_name="s1")
    result = study.run()
    result.best["omega"], result.frame, result.figures["tau_sensitivity"]
    ```

    Attributes:
        command: what would be typed for the same.
    """

    def __init__(self, kind: str = "tau", **options: Any) -> None:
        """Read the options; nothing is started.

        Args:
            kind: what is searched: "tau", "loss", "schedule", "margin", "method" or "pareto".
            options: those of the command, by the names of their flags with underlines: `trials=9`
                is `--trials 9`, `resume=True` is `--resume`, a list is what the flag takes of
                them, and `set={"training.seed": 1}` is `--set training.seed=1`. None is not given.

        Raises:
            ValueError: there is no such kind or option, or a value is not allowed.
        """
        kinds = _kinds()
        if kind not in kinds:
            raise ValueError(f"kind is {kind!r}; allowed: {', '.join(kinds)}")
        self._command = kinds[kind]
        self._typed = f"diffrop {STUDY} {kind}"
        parser = self._command.parser(self._typed)
        self._argv = list(_words(parser, options))
        self._args = _parsed(parser, self._argv)

    @functools.cached_property
    def _typed_configs(self) -> tuple[StudyConfig, LaunchConfig]:
        return self._command.configs(self._args, os.environ)

    @functools.cached_property
    def _configs(self) -> tuple[StudyConfig, LaunchConfig]:
        return on_this_machine(*self._typed_configs, self._command.asked(self._args))

    @property
    def command(self) -> str:
        """What would be typed for the same, without credentials."""
        from diffrop.console.study_launch import typed_command

        return typed_command(Call(self._typed, self._argv))

    @property
    def config(self) -> StudyConfig:
        """What the study is; ValueError if a value is not allowed."""
        return self._configs[0]

    @property
    def launch(self) -> LaunchConfig:
        """How it runs; ValueError if a value is not allowed."""
        return self._configs[1]

    def run(self) -> Result:
        """Run it, or with `resume=True` go on with it; print what the command prints.

        An interrupt of the kernel is Ctrl-C: trials save, and what there is is returned.

        Raises:
            ValueError: something in it is not allowed, or it ended before any trial had a result.
            StudyError: the folder's state forbids it.
            ResourceError: it needs more than there is.
        """
        from diffrop.console import last_screen, study_launch

        console = Terminal()
        finished = study_launch.run(
            *self._typed_configs,
            self._command.asked(self._args),
            self.command,
            study_launch.chosen_view(json_lines=False, quiet=self._args.quiet),
            console,
            self._command.pages,
            Edge(),
            notify_url(self._args, os.environ),
        )
        last_screen.print_places(finished, console)
        return read_result(finished.directory)


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse options; what is wrong is a ValueError, where a command would end."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parser.parse_args(argv)
    except SystemExit as end:
        raise ValueError(said.getvalue().strip().rpartition("error: ")[2]) from end


def _kinds() -> dict[str, StudyCommand]:
    """Return the commands that are studies, by kind; that of omega trains nothing and is none."""
    names = [name for name in command_modules() if name.startswith(f"{STUDY} ")]
    found = {name.split()[1]: getattr(load_command(name), "COMMAND", None) for name in names}
    return {name: command for name, command in found.items() if command is not None}


def _words(parser: argparse.ArgumentParser, options: Mapping[str, Any]) -> Iterator[str]:
    """Yield options as words of a command line; ValueError if there is no such option."""
    flags = {
        flag.removeprefix("--").replace("-", "_"): (flag, action)
        for action in parser._actions  # noqa: SLF001 argparse lists them nowhere else
        for flag in action.option_strings
        if flag.startswith("--")
    }
    for name, value in options.items():
        if name not in flags or name in NOT_HERE:
            known = ", ".join(sorted(set(flags) - set(NOT_HERE)))
            raise ValueError(f"there is no option {name!r}; allowed: {known}")
        flag, action = flags[name]
        if value is None or value is False:
            continue
        if value is True:
            yield flag
        elif isinstance(value, Mapping):
            for key, item in value.items():
                yield f"{flag}={key}={_yaml(item)}"
        elif isinstance(value, list | tuple) and action.nargs == "+":
            yield flag
            yield from map(str, value)
        elif isinstance(value, list | tuple) and isinstance(action, argparse._AppendAction):  # noqa: SLF001
            yield from (f"{flag}={item}" for item in value)
        elif isinstance(value, list | tuple):
            yield f"{flag}={','.join(map(str, value))}"
        else:
            yield f"{flag}={value}"


def _yaml(value: Any) -> str:
    """Return a value in one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**9).split("\n")[0]
