"""Train the rows of a table of the paper, and write them beside the published numbers."""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from diffrop.baselines.classifier_config import classifier_recipe
from diffrop.config import ExperimentConfig
from diffrop.console.call import Call
from diffrop.console.commands import relative
from diffrop.console.configs import (
    chosen_recipe,
    experiment_changes,
    experiment_config,
    for_device,
    given,
    launch_config,
    with_gpu,
)
from diffrop.console.options import TRAINING_GROUPS, add_options, command_parser
from diffrop.console.shown import command_screen
from diffrop.console.terminal import Terminal
from diffrop.console.typed import at_least_1, folder, names, whole
from diffrop.edge import FAULT, errors_to_exit
from diffrop.study.config import LaunchConfig, check_name
from diffrop.study.learned import warmup_warnings
from diffrop.tables.published import PUBLISHED_SAMPLER, PUBLISHED_SAMPLING, TABLES

if TYPE_CHECKING:
    from diffrop.tables.plan import ClassifierPlan, TablePlan


def parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    found = command_parser(command, __doc__, "%(prog)s --table N [options]")
    table = found.add_argument_group("the table")
    add = table.add_argument
    add("--table", type=whole, choices=tuple(TABLES), required=True, help="of the paper")
    add("--rows", type=names, metavar="X,X,...", help="some rows alone; --dry-run names them")
    add("--name", help="folder in runs/ (table, its number, and the time)")
    words = "carry on with that table; finished rows are kept"
    add_options(table, "launch.resume", help=words)
    add("--dry-run", action="store_true", help="print rows and cost, start nothing")
    add_options(table, "training.seed", help="of the trainings")
    generated = "Table 3: images that each model adds (1,000; published: 50,000)"
    words = f"draw as the paper's tables were, with {PUBLISHED_SAMPLER}"
    add("--published-sampler", action="store_true", help=words)
    add("--num-generated", type=at_least_1, default=1_000, metavar="N", help=generated)
    words = "Table 3: seen by each classifier"
    flag = "--classifier-images"
    add_options(table, "classifier.num_images", flags=flag, parse=at_least_1, help=words)
    add(
        "--test-root",
        type=folder,
        metavar="DIR",
        help="Table 3, image_folder: folder of held-out images",
    )
    for heading, keys in TRAINING_GROUPS.items():
        add_options(found.add_argument_group(heading), *keys)
    return found


def classifier_plan(args: argparse.Namespace) -> "ClassifierPlan":
    """Return what the options ask of Table 3's classifiers; they take the seed of the models."""
    from diffrop.tables.plan import ClassifierPlan

    dataset = chosen_recipe(args).experiment.data.dataset
    changes = given(args, "classifier")
    if "seed" in given(args, "training"):
        changes["seed"] = given(args, "training")["seed"]
    return ClassifierPlan(
        config=dataclasses.replace(classifier_recipe(dataset), **changes),
        num_generated=args.num_generated,
        test_root=args.test_root,
    )


def table_plan(args: argparse.Namespace, launch: LaunchConfig, name: str) -> "TablePlan":
    """Return what the options ask for; ValueError if something is not allowed."""
    from diffrop.tables.plan import make_plan

    asked, on_gpu = experiment_changes(args), launch.gpus_per_worker > 0
    own = PUBLISHED_SAMPLING if args.published_sampler else None

    def configure(preset: str | None) -> ExperimentConfig:
        return for_device(experiment_config(args, preset, own), asked, on_gpu)

    directory = Path(launch.runs_root).resolve() / name
    return make_plan(args.table, args.rows, configure, classifier_plan(args), directory)


def run(plan: "TablePlan", done: list[str], launch: LaunchConfig, console: Console) -> int:
    """Train what is left of a table, print and write it; return the exit code.

    Args:
        plan: of the table.
        done: its finished rows.
        launch: how it runs.
        console: where it is printed.
    """
    from diffrop.scoring.data_summary import data_lines
    from diffrop.tables.run import run_table, table_inputs
    from diffrop.tables.written import terminal_lines, write_table, written_table

    try:
        with command_screen(console) as screen:
            runs_root = Path(launch.runs_root).resolve()
            inputs = table_inputs(plan, runs_root, done, screen.working)
            for line in data_lines(inputs.scoring.dataset) if inputs.scoring else ():
                screen.say(line)
            results = run_table(plan, inputs, launch, screen)
    except KeyboardInterrupt:
        hint = f"carry on with the same command, --name {plan.directory.name} and --resume"
        print(f"Interrupted: {hint}.", file=sys.stderr)
        return 130
    written = written_table(plan, results, inputs.split)
    print("", *terminal_lines(written), "", sep="\n")
    for path in write_table(written):
        console.print(f"table {relative(path)}", soft_wrap=True)
    return FAULT if any(result.failure for result in results) else 0


def main(call: Call) -> int:
    """Train what is left of the table, print and write it; return the exit code."""
    args, console = parser(call.command).parse_args(call.argv), Terminal()
    with errors_to_exit(call.argv):
        if "resume" in given(args, "launch") and args.name is None:
            raise ValueError("--resume needs --name, the name of the table to carry on with")
        name = check_name(args.name or time.strftime(f"table{args.table}-%Y%m%d-%H%M%S"))
        experiment_config(args, preset=None)  # refuses wrong options before anything slow
        launch = launch_config(args, call.environment.get("MLFLOW_TRACKING_URI"))
        with command_screen(console) as screen:
            from diffrop.tables.plan import check_folder, cost_lines
            from diffrop.tables.run import check_table, stored_result

            launch = with_gpu(launch, vars(args))
            plan = table_plan(args, launch, name)
            check_folder(plan, launch.resume)
            check_table(plan, launch, screen.working)
        done = [row for row in plan.rows if stored_result(plan, row) is not None]
        left = [config.training for row, config in plan.configs.items() if row not in done]
        for line in warmup_warnings(left):
            console.print(line)
        if args.dry_run:
            print(*cost_lines(plan, done), sep="\n")
            return 0
        return run(plan, done, launch, console)
