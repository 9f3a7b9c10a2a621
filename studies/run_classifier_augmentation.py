"""Train classifiers with and without generated images, and score them on held-out ones."""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import torch
from rich.console import Console

from diffrop.baselines.augmentation import (
    TABLE_HEAD,
    check_same_data,
    classifier_table,
    generated_images,
    table_line,
    table_notes,
    write_results,
)
from diffrop.baselines.classifier_config import classifier_recipe
from diffrop.checkpoint_file import read_checkpoint
from diffrop.config import DataConfig
from diffrop.console.commands import relative
from diffrop.console.options import Formatter, parse_factor
from diffrop.data import DATASETS
from diffrop.data.held_out import load_split
from diffrop.errors import errors_to_exit
from diffrop.provenance import git_commit
from diffrop.recipes import recipe
from diffrop.study.config import check_name


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the parsed options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=Formatter, usage="%(prog)s [options]"
    )
    add = parser.add_argument
    add("--checkpoint", type=Path, metavar="FILE", help="whose images the last row adds")
    add("--num-generated", type=int, default=1_000, metavar="N", help="of them (1,000)")
    add("--omega", type=float, default=0.0, metavar="X", help="their guidance scale (0)")
    add("--dataset", choices=tuple(DATASETS), default="digits", metavar="NAME", help="(digits)")
    add("--data-root", metavar="DIR", help="image_folder, or torchvision's folder")
    add("--test-root", metavar="DIR", help="image_folder: folder of held-out images")
    add("--imbalance-factor", metavar="X", help="or `own` (as in a study of the dataset)")
    add("--image-size", type=int, metavar="PIXELS", help="for image_folder (32)")
    add("--images", type=int, metavar="N", help="seen by each classifier (by the dataset)")
    add("--seed", type=int, default=0, metavar="N", help="of training and samples (0)")
    add("--runs-root", type=Path, default=Path("runs"), metavar="DIR", help="(runs)")
    add("--name", help="folder in runs/ (classifier-, and the time)")
    return parser.parse_args(argv)


def data_config(args: argparse.Namespace) -> DataConfig:
    """Return the dataset of the options; ValueError if they do not fit."""
    given = {"dataset": args.dataset, "root": args.data_root, "image_size": args.image_size}
    if args.imbalance_factor is not None:
        given["imbalance_factor"] = parse_factor(args.imbalance_factor)
    return dataclasses.replace(recipe(args.dataset).experiment.data, **given)


def main(argv: list[str]) -> int:
    """Train, score, print, write; return the exit code."""
    args, console = parse(argv), Console(highlight=False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with errors_to_exit():
        name = check_name(args.name or time.strftime("classifier-%Y%m%d-%H%M%S"))
        directory = args.runs_root.resolve() / name
        if directory.exists():
            raise ValueError(f"folder {str(directory)!r} exists; allowed: a new --name")
        changes = {"seed": args.seed, "num_images": args.images}
        given = {key: value for key, value in changes.items() if value is not None}
        config = dataclasses.replace(classifier_recipe(args.dataset), **given)
        split, generated = load_split(data_config(args), args.test_root), None
        if args.checkpoint is not None:
            checkpoint = read_checkpoint(args.checkpoint)
            check_same_data(checkpoint, split)
            generated = generated_images(
                checkpoint, args.num_generated, args.omega, args.seed, device
            )
        console.print(TABLE_HEAD)
        rows = classifier_table(
            config, split, generated, device, lambda row: console.print(table_line(row))
        )
    for note in table_notes(split, rows, config.num_images):
        console.print(note)
    options = {key: str(value) for key, value in vars(args).items()}
    card = {"config": config.to_dict(), "options": options, "git_commit": git_commit()}
    write_results(directory, card | {"test_counts": split.test.class_counts}, rows)
    console.print(f"results {relative(directory)}/results.json and results.csv", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
