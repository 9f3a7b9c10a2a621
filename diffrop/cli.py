"""The command line that the studies share: options in, StudyConfig and LaunchConfig out."""

import argparse
import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from diffrop.config import ExperimentConfig
from diffrop.errors import DiffropError
from diffrop.options import (
    add_data_options,
    add_trial_options,
    chosen_recipe,
    preset_help,
    with_options,
)
from diffrop.presets import PRESETS
from diffrop.search.config import LaunchConfig, StudyConfig
from diffrop.search.engine import FinishedStudy, check_study, prepare, run_study
from diffrop.search.plan import print_plan
from diffrop.search.results import protocol, remarks, results_table, scale
from diffrop.search.space import SearchSpace
from diffrop.tracking import ui_command

RESUME_HINT = "carry on with the same command, --study-name {name} and --resume"


@contextlib.contextmanager
def errors_to_exit() -> Iterator[None]:
    """End the program with one sentence and exit code 2 on wrong input or a known fault."""
    try:
        yield
    except (ValueError, DiffropError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


class Formatter(argparse.HelpFormatter):
    """Help in 80 columns with the option names in one wide column."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=80)


def add_launch_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of LaunchConfig."""
    group = parser.add_argument_group("where it runs")
    add = group.add_argument
    add("--runs-root", metavar="DIR", default="runs", help="folder of all studies (runs)")
    add(
        "--workers-per-trial",
        type=int,
        metavar="N",
        default=1,
        help="workers that train one trial; several run under Ray Train (1)",
    )
    add("--cpus-per-worker", type=int, metavar="N", default=1, help="CPUs of a worker (1)")
    add(
        "--gpus-per-worker",
        type=float,
        metavar="X",
        help="GPUs of a worker, fractions allowed (1 if there is one, else 0)",
    )
    add(
        "--ray-address",
        metavar="ADDRESS",
        default="local",
        help="a running cluster; by default one of its own on this machine",
    )
    add("--max-failures", type=int, metavar="N", default=2, help="restarts of a trial (2)")
    add(
        "--worker-timeout",
        type=int,
        metavar="S",
        default=600,
        dest="worker_timeout_s",
        help="a worker group silent for so many seconds is restarted (600)",
    )
    add("--tracking-uri", metavar="URI", help="MLflow's (MLFLOW_TRACKING_URI, else SQLite in "
        "the runs folder)")  # fmt: skip


def study_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of a study's command."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=Formatter, usage="%(prog)s [options]"
    )
    study = parser.add_argument_group("the study").add_argument
    study("--study-name", metavar="NAME", help="its folder in runs/ (from script and time)")
    study("--resume", action="store_true", help="carry on with the study of that name")
    study("--dry-run", action="store_true", help="print plan and cost, start nothing")
    study("--trials", type=int, metavar="N", help="trials, the baseline included")
    study("--space", type=Path, metavar="FILE", help="search space (YAML)")
    study("--seed", type=int, metavar="N", default=0, help="of the search (0)")
    study("--preset", choices=tuple(PRESETS), metavar="NAME", help=preset_help())
    study(
        "--first-rung",
        type=int,
        metavar="IMAGES",
        help="images after which a trial may be stopped",
    )
    study("--rung-samples", type=int, metavar="N", help="images per omega before the last rung")
    study("--no-prune", action="store_true", help="run every trial to its end")
    study(
        "--max-concurrent",
        type=int,
        metavar="N",
        help="trials at a time (as many as fit, at most half of the study)",
    )
    study("--storage", metavar="URL", help="Optuna's, such as postgresql://... (SQLite)")
    add_data_options(parser)
    add_trial_options(parser)
    add_launch_options(parser)
    return parser


def study_config(args: argparse.Namespace, script: str, space: Path, on_gpu: bool) -> StudyConfig:
    """Build the study from parsed options.

    Raises:
        ValueError: an option is not allowed, or --resume came without a name.
    """
    if args.resume and args.study_name is None:
        raise ValueError("--resume needs --study-name, the name of the study to carry on with")
    start = chosen_recipe(args, on_gpu)
    experiment = with_options(start.experiment, args)
    return StudyConfig(
        name=args.study_name or f"{script}-{time.strftime('%Y%m%d-%H%M%S')}",
        space=SearchSpace.load(args.space or space),
        experiment=experiment,
        num_trials=args.trials if args.trials is not None else start.num_trials,
        seed=args.seed,
        first_rung_images=first_rung(args.first_rung, start.first_rung_images, experiment),
        rung_samples=(args.rung_samples if args.rung_samples is not None else start.rung_samples),
        scheduler="none" if args.no_prune else "asha",
    )


def first_rung(asked: int | None, default: int, experiment: ExperimentConfig) -> int:
    """Return the first rung: as asked, or the recipe's, or half of a shorter training."""
    if asked is not None:
        return asked
    return min(default, max(1, experiment.training.num_images // 2))


def launch_config(args: argparse.Namespace, tracking_uri: str | None) -> LaunchConfig:
    """Build the launch from parsed options; a GPU is used where there is one."""
    gpus = args.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if torch.cuda.is_available() else 0.0
    return LaunchConfig(
        runs_root=args.runs_root,
        ray_address=args.ray_address,
        workers_per_trial=args.workers_per_trial,
        cpus_per_worker=args.cpus_per_worker,
        gpus_per_worker=gpus,
        max_concurrent=getattr(args, "max_concurrent", None),
        max_failures=args.max_failures,
        worker_timeout_s=args.worker_timeout_s,
        storage=getattr(args, "storage", None),
        tracking_uri=args.tracking_uri or tracking_uri,
        resume=args.resume,
    )


@dataclass(frozen=True)
class StudyCommand:
    """A study as a command: what a file in studies/ has to say."""

    script: str
    description: str
    space: Path
    render: Callable[[Path], list[Path]]
    """Draws figures and report from the study's folder; returns the files."""

    def main(self, argv: list[str], environment: dict[str, str]) -> int:
        """Parse, check, run, and print the results; return the exit code."""
        console = Console(highlight=False)
        parser = study_parser(self.description)
        args = parser.parse_args(argv)
        with errors_to_exit():
            launch = launch_config(args, environment.get("MLFLOW_TRACKING_URI"))
            config = study_config(args, self.script, self.space, launch.gpus_per_worker > 0)
            if args.dry_run:
                store, dataset = check_study(config, launch)
                print_plan(config, launch, dataset, store.path, console)
                return 0
            console.print(f"Study {config.name}: {config.num_trials} trials; preparing.")
            prepared = prepare(config, launch)
        command = shlex.join(["python", f"studies/{self.script}.py", *argv])
        try:
            finished = run_study(config, launch, prepared, command, console, self.render)
        except DiffropError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        print_results(finished, console)
        return 130 if finished.interrupted else 0


def print_results(finished: FinishedStudy, console: Console) -> None:
    """Print the ranked table, what it cannot say, and where everything lies."""
    result = finished.result
    console.print(f"\n{protocol(result)}", soft_wrap=False)
    console.print(results_table(result))
    for remark in (*scale(result, finished.anchors), *remarks(result), *finished.untracked):
        console.print(remark, soft_wrap=False)
    if finished.interrupted:
        console.print(f"Interrupted: {RESUME_HINT.format(name=result.config.name)}.")
    shown = relative(finished.directory)
    console.print(f"\nreport   {shown}/report.html", soft_wrap=True)
    console.print(f"figures  {shown}/figures/", soft_wrap=True)
    if result.ranked:
        final = f"python studies/train_final.py --config {shown}/best.yaml"
        console.print(f"train    {final}", soft_wrap=True)
    console.print(f"MLflow   {ui_command(finished.tracking_uri)}", soft_wrap=True)


def relative(path: Path) -> Path:
    """Return a path as short as it can be typed from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
