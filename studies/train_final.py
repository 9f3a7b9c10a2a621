"""Train an exported configuration, or a method of the paper, to its end, and score it."""

import argparse
import os
import sys
import time
from pathlib import Path

from rich.console import Console

from diffrop.config import ExperimentConfig
from diffrop.console.commands import relative
from diffrop.console.options import (
    Formatter,
    add_data_options,
    add_trial_options,
    chosen_recipe,
    preset_help,
    with_options,
)
from diffrop.console.results import metrics_table
from diffrop.console.study_options import add_launch_options, launch_config
from diffrop.engine.final_training import final_lines, prepare_final, train_final
from diffrop.errors import StudyError, errors_to_exit
from diffrop.presets import PRESETS
from diffrop.record.exported_config import load_export
from diffrop.record.trial_folder import TrialFolder
from diffrop.study.config import check_name

RESUME_HINT = "carry on with the same command, --name {name} and --resume"


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the parsed options."""
    usage = "%(prog)s (--config FILE | --preset NAME) [options]"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter, usage=usage)
    start = parser.add_argument_group("what to train").add_mutually_exclusive_group(required=True)
    start.add_argument("--config", type=Path, metavar="FILE", help="best.yaml of a study")
    start.add_argument("--preset", choices=tuple(PRESETS), metavar="NAME", help=preset_help())
    add = parser.add_argument
    add("--name", help="folder in runs/ (final-, and the time)")
    add("--resume", action="store_true", help="carry on with the training of that name")
    add("--seed", type=int, metavar="N", help="of the training (as in --config, or 0)")
    add_data_options(parser)
    add_trial_options(parser)
    add_launch_options(parser)
    return parser.parse_args(argv)


def experiment_config(args: argparse.Namespace, on_gpu: bool) -> ExperimentConfig:
    """Return the exported configuration, or the preset's, with what the options change.

    Raises:
        ValueError: the file is no export, or an option is not allowed.
    """
    if args.config is None:
        start = chosen_recipe(args, on_gpu).experiment
    elif args.dataset is not None:
        raise ValueError("--dataset came with --config, which has its own; allowed: --preset")
    else:
        start = load_export(args.config)
    if args.seed is not None:
        start = start.with_values({"training.seed": args.seed})
    return with_options(start, args)


def main(argv: list[str], environment: dict[str, str]) -> int:
    """Train, score, print; return the exit code."""
    args, console = parse(argv), Console(highlight=False)
    with errors_to_exit():
        launch = launch_config(args, environment.get("MLFLOW_TRACKING_URI"))
        config = experiment_config(args, launch.gpus_per_worker > 0)
        if args.resume and args.name is None:
            raise ValueError("--resume needs --name, the name of the training to carry on with")
        name = check_name(args.name or time.strftime("final-%Y%m%d-%H%M%S"))
        directory = Path(launch.runs_root).resolve() / name
        if directory.exists() != args.resume:
            state = "does not exist" if args.resume else "exists; carry it on with --resume"
            raise StudyError(f"{directory} {state}")
        inputs, anchors = prepare_final(config, launch)
        result = train_final(config, inputs, directory, launch, console)
        if result.interrupted:
            print(f"Interrupted: {RESUME_HINT.format(name=directory.name)}.", file=sys.stderr)
            return 130
        if result.card is None:
            print(f"error: {result.failure}", file=sys.stderr)
            return 2
        for line in final_lines(result.card, anchors):
            console.print(line)
        console.print(metrics_table(result.card))
        for line in result.untracked:
            console.print(line)
        checkpoint = TrialFolder(relative(directory)).scored_checkpoint(result.card.images_seen)
        console.print(f"checkpoint {checkpoint}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
