"""The command that the studies share: read the options, check, run, print.

What takes seconds to import (Ray, torch, MLflow, the figures) is imported where the work begins,
so that help and wrong input are answered at once.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffrop.console.call import Call
from diffrop.console.configs import (
    as_begun,
    confirmation_asked,
    experiment_changes,
    launch_config,
    runs_root,
    study_config,
)
from diffrop.console.options import study_parser
from diffrop.console.terminal import Terminal
from diffrop.edge import errors_to_exit
from diffrop.engine.progress import Pages
from diffrop.record.study_folder import StudyFolder
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.webhook import check_url

NOTIFY_VARIABLE = "DIFFROP_NOTIFY"

SEARCH_SPACES = Path(__file__).parents[1] / "search_spaces"
"""The folder of the repository's top, or what the wheel has of it."""


@dataclass(frozen=True)
class StudyCommand:
    """A study as a command: what a module of `diffrop.commands` has to say."""

    name: str
    """Starts the name of an unnamed study."""
    description: str
    space: Path
    pages: Pages
    """Figures, report and answer."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What it changes of the dataset's recipe; see `study_config`."""

    def parser(self, command: str) -> argparse.ArgumentParser:
        """Return the parser of the options; `command` stands before them in its help."""
        return study_parser(command, self.description, self.settings)

    def main(self, call: Call) -> int:
        """Parse, check, run, and print the results; return the exit code."""
        args = self.parser(call.command).parse_args(call.argv)
        console = Terminal(stderr=args.json)
        with errors_to_exit(call.argv) as edge:
            config, launch = self.configs(args, call.environment)
            asked = self.asked(args)
            notify = notify_url(args, call.environment)
            from diffrop.console import last_screen, study_launch

            if args.dry_run:
                study_launch.show_plan(config, launch, asked, console)
                return 0
            view = study_launch.chosen_view(args.json, args.quiet)
            finished = study_launch.run(
                config,
                launch,
                asked,
                study_launch.typed_command(call),
                view,
                console,
                self.pages,
                edge,
                notify,
            )
            if view != "json":
                last_screen.print_places(finished, console)
            return 130 if finished.interrupted else 0

    def configs(
        self, args: argparse.Namespace, environment: Mapping[str, str]
    ) -> tuple[StudyConfig, LaunchConfig]:
        """Return the study and the launch of parsed options; a study that resumes, as begun.

        They lack what the machine adds: see `on_this_machine`.

        Raises:
            ValueError: an option is not allowed.
            StudyError: the study.yaml of a study that is resumed is damaged.
        """
        config = study_config(args, self.name, self.space, self.settings)
        folder = StudyFolder(runs_root(args) / config.name)
        confirmation = confirmation_asked(args, folder, self.settings)
        launch = launch_config(args, environment.get("MLFLOW_TRACKING_URI"), confirmation)
        if launch.resume:
            config = as_begun(config, self.asked(args), folder)
        return config, launch

    def asked(self, args: argparse.Namespace) -> set[str]:
        """Return the keys that parsed options, or the command itself, ask for."""
        return {*self.settings, *experiment_changes(args), *vars(args)}


def notify_url(args: argparse.Namespace, environment: Mapping[str, str]) -> str | None:
    """Return the URL of --notify, or of DIFFROP_NOTIFY, which no list of processes shows.

    Raises:
        ValueError: that variable holds no URL.
    """
    typed: str | None = vars(args).get("notify")
    if typed is not None or not environment.get(NOTIFY_VARIABLE):
        return typed
    try:
        return check_url(environment[NOTIFY_VARIABLE])
    except ValueError as error:
        raise ValueError(f"{NOTIFY_VARIABLE}: {error}") from None


def relative(path: Path) -> Path:
    """Return a path as short as it can be typed from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
