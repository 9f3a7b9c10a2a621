"""Train a GAN baseline (CBGAN, gSR or SNGAN) and score it as a trial is scored."""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import torch
from rich.console import Console

from diffrop.baselines.gan_config import GanConfig, GanModel, gan_recipe
from diffrop.baselines.gan_study import report_lines, run_gan
from diffrop.config import DataConfig, EvaluationConfig
from diffrop.console.commands import relative
from diffrop.console.options import (
    Formatter,
    add_data_options,
    add_extractor_options,
    choices_of,
    data_changes,
    setting,
)
from diffrop.data import load_dataset
from diffrop.engine.prepare import scoring_inputs
from diffrop.errors import errors_to_exit
from diffrop.recipes import recipe
from diffrop.study.config import check_name


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the parsed options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=Formatter, usage="%(prog)s [options]"
    )
    add = parser.add_argument
    add("--model", choices=choices_of(GanModel), default="gsr", help="(gsr)")
    add_data_options(parser)
    add("--images", type=int, metavar="N", help="real images seen (by model and dataset)")
    add("--num-samples", type=int, metavar="N", help="images of the score (as in a study)")
    add("--seed", type=int, default=0, metavar="N", help="of the training (0)")
    add(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="any other key of GanConfig, such as spectral_weight=1; may be repeated",
    )
    add_extractor_options(add)
    add("--runs-root", type=Path, default=Path("runs"), metavar="DIR", help="(runs)")
    add("--name", help="folder in runs/ (the model, and the time)")
    add("--resume", action="store_true", help="carry on with the training of that name")
    return parser.parse_args(argv)


def configs(args: argparse.Namespace) -> tuple[GanConfig, DataConfig, EvaluationConfig]:
    """Return what the options say; ValueError if something is not allowed."""
    dataset = args.dataset or "digits"
    start = recipe(dataset).experiment
    settings = {"num_images": args.images, **dict(args.settings)}
    changes = {key: value for key, value in settings.items() if value is not None}
    gan = gan_recipe(args.model, dataset).to_dict() | {"seed": args.seed} | changes
    scoring = {
        "num_samples": args.num_samples,
        "extractor": args.extractor,
        "extractor_weights": args.extractor_weights,
    }
    given = {key: value for key, value in scoring.items() if value is not None}
    return (
        GanConfig.from_dict(gan),
        dataclasses.replace(start.data, **data_changes(args)),
        dataclasses.replace(start.evaluation, **given),
    )


def main(argv: list[str]) -> int:
    """Train, score, print; return the exit code."""
    args, console = parse(argv), Console(highlight=False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with errors_to_exit():
        if args.resume and args.name is None:
            raise ValueError("--resume needs --name, the name of the training to carry on with")
        name = check_name(args.name or time.strftime(f"{args.model}-%Y%m%d-%H%M%S"))
        directory = args.runs_root.resolve() / name
        if directory.exists() != args.resume:
            state = "does not exist" if args.resume else "exists; carry it on with --resume"
            raise ValueError(f"{directory} {state}")
        gan, data, evaluation = configs(args)
        inputs, anchors = scoring_inputs(evaluation, load_dataset(data), args.runs_root.resolve())
        report = run_gan(gan, data, evaluation, inputs, directory, device, console.print)
    (directory / "anchors.json").write_text(json.dumps(anchors), encoding="utf-8")
    for line in report_lines(report, anchors, gan, inputs.extractor.name):
        console.print(line)
    console.print(f"checkpoint, report.json, samples.png: {relative(directory)}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
