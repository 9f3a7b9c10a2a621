"""Train the rows of a table of the paper, and write them beside the published numbers."""

import argparse
import dataclasses
import os
import sys
import time
from pathlib import Path

from rich.console import Console

from diffrop.baselines.classifier_config import classifier_recipe
from diffrop.config import ExperimentConfig
from diffrop.console.commands import relative
from diffrop.console.options import (
    Formatter,
    add_data_options,
    add_trial_options,
    chosen_recipe,
    names,
    with_options,
)
from diffrop.console.study_options import add_launch_options, launch_config
from diffrop.errors import errors_to_exit
from diffrop.study.config import check_name
from diffrop.tables.plan import ClassifierPlan, TablePlan, check_folder, cost_lines, make_plan
from diffrop.tables.published import TABLES
from diffrop.tables.run import check_table, run_table, stored_result, table_inputs
from diffrop.tables.written import terminal_lines, write_table, written_table


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the parsed options."""
    usage = "%(prog)s --table N [options]"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter, usage=usage)
    add = parser.add_argument_group("the table").add_argument
    add("--table", type=int, choices=tuple(TABLES), required=True, help="of the paper")
    add("--rows", type=names, metavar="X,X,...", help="some rows alone; --dry-run names them")
    add("--name", help="folder in runs/ (table, its number, and the time)")
    add("--resume", action="store_true", help="carry on with that table; finished rows are kept")
    add("--dry-run", action="store_true", help="print rows and cost, start nothing")
    add("--seed", type=int, default=0, metavar="N", help="of the trainings (0)")
    generated = "Table 3: images that each model adds (1,000; published: 50,000)"
    add("--num-generated", type=int, default=1_000, metavar="N", help=generated)
    add("--classifier-images", type=int, metavar="N", help="Table 3: seen by each classifier")
    add("--test-root", metavar="DIR", help="Table 3, image_folder: folder of held-out images")
    add_data_options(parser)
    add_trial_options(parser)
    add_launch_options(parser)
    return parser.parse_args(argv)


def table_plan(args: argparse.Namespace, on_gpu: bool) -> TablePlan:
    """Return what the options ask for; ValueError if something is not allowed."""
    if args.resume and args.name is None:
        raise ValueError("--resume needs --name, the name of the table to carry on with")
    name = check_name(args.name or time.strftime(f"table{args.table}-%Y%m%d-%H%M%S"))

    def configure(preset: str | None) -> ExperimentConfig:
        chosen = argparse.Namespace(**{**vars(args), "preset": preset})
        start = chosen_recipe(chosen, on_gpu).experiment
        return with_options(start.with_values({"training.seed": args.seed}), chosen)

    recipe = classifier_recipe(args.dataset or "digits")
    seen = recipe.num_images if args.classifier_images is None else args.classifier_images
    classifier = ClassifierPlan(
        config=dataclasses.replace(recipe, seed=args.seed, num_images=seen),
        num_generated=args.num_generated,
        test_root=args.test_root,
    )
    directory = Path(args.runs_root).resolve() / name
    return make_plan(args.table, args.rows, configure, classifier, directory)


def main(argv: list[str], environment: dict[str, str]) -> int:
    """Train what is left of the table, print and write it; return the exit code."""
    args, console = parse(argv), Console(highlight=False)
    with errors_to_exit():
        launch = launch_config(args, environment.get("MLFLOW_TRACKING_URI"))
        plan = table_plan(args, launch.gpus_per_worker > 0)
        check_folder(plan, args.resume)
        check_table(plan, launch)
        done = [row for row in plan.rows if stored_result(plan, row) is not None]
        if args.dry_run:
            print(*cost_lines(plan, done), sep="\n")
            return 0
        inputs = table_inputs(plan, Path(launch.runs_root).resolve(), done)
        try:
            results = run_table(plan, inputs, launch, console)
        except KeyboardInterrupt:
            hint = f"carry on with the same command, --name {plan.directory.name} and --resume"
            print(f"Interrupted: {hint}.", file=sys.stderr)
            return 130
        written = written_table(plan, results, inputs.split)
    print("", *terminal_lines(written), "", sep="\n")
    for path in write_table(written):
        console.print(f"table {relative(path)}", soft_wrap=True)
    return 2 if any(result.failure for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
