"""Train classifiers with and without generated images, and score them on held-out ones."""

import argparse
import dataclasses
import time
from typing import TYPE_CHECKING

from diffrop.baselines.classifier_config import ClassifierConfig, classifier_recipe
from diffrop.config import DataConfig
from diffrop.console.call import Call
from diffrop.console.commands import relative
from diffrop.console.configs import chosen_recipe, flags_named, given, runs_root
from diffrop.console.options import add_options, command_parser
from diffrop.console.shown import command_screen
from diffrop.console.terminal import Terminal
from diffrop.console.typed import at_least_0, at_least_1, folder, local_path
from diffrop.edge import errors_to_exit
from diffrop.study.config import check_name

if TYPE_CHECKING:
    from diffrop.baselines.augmentation import TableRow
    from diffrop.data.held_out import SplitDataset
    from diffrop.engine.progress import Screen


def parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    found = command_parser(command, __doc__)
    add = found.add_argument
    add("--checkpoint", type=local_path, metavar="FILE", help="whose images the last row adds")
    add("--num-generated", type=at_least_1, default=1_000, metavar="N", help="of them (1,000)")
    add("--omega", type=at_least_0, default=0.0, metavar="X", help="their guidance scale (0)")
    add_options(found, "data.dataset", "data.root")
    add("--test-root", type=folder, metavar="DIR", help="image_folder: folder of held-out images")
    own = ("data.skip_damaged", "classifier.num_images", "classifier.seed")
    add_options(found, "data.imbalance_factor", "data.image_size", *own, "launch.runs_root")
    add("--name", help="folder in runs/ (classifier-, and the time)")
    return found


def configs(args: argparse.Namespace) -> tuple[ClassifierConfig, DataConfig]:
    """Return what the options say; ValueError if something is not allowed."""
    with flags_named(args, "data"):
        data = dataclasses.replace(chosen_recipe(args).experiment.data, **given(args, "data"))
    start = classifier_recipe(data.dataset)
    with flags_named(args, "classifier"):
        return dataclasses.replace(start, **given(args, "classifier")), data


def scored(
    args: argparse.Namespace, config: ClassifierConfig, data: DataConfig, screen: "Screen"
) -> tuple["SplitDataset", list["TableRow"]]:
    """Train and score a classifier on each training set; show how far it is, and its row.

    Raises:
        ValueError: an option does not fit the images or the checkpoint.
        CheckpointError: the checkpoint is damaged or foreign.
    """
    import torch

    from diffrop.baselines import augmentation
    from diffrop.checkpoint_file import read_checkpoint
    from diffrop.data.held_out import load_split

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tell = screen.working
    split, generated = load_split(data, args.test_root, tell), None
    for note in dict.fromkeys([*split.train.notes, *split.test.notes]):
        screen.say(note)
    if args.checkpoint is not None:
        checkpoint = read_checkpoint(args.checkpoint)
        augmentation.check_same_data(checkpoint, split)
        generated = augmentation.generated_images(
            checkpoint, args.num_generated, args.omega, config.seed, device, tell
        )
    screen.say(augmentation.TABLE_HEAD)

    def show(row: "TableRow") -> None:
        screen.say(augmentation.table_line(row))

    rows = augmentation.classifier_table(config, split, generated, device, show, tell)
    return split, rows


def main(call: Call) -> int:
    """Train, score, print, write; return the exit code."""
    args, console = parser(call.command).parse_args(call.argv), Terminal()
    with errors_to_exit(call.argv):
        name = check_name(args.name or time.strftime("classifier-%Y%m%d-%H%M%S"))
        directory = runs_root(args).resolve() / name
        if directory.exists():
            raise ValueError(f"folder {str(directory)!r} exists. To fix: give a new --name")
        config, data = configs(args)
        with command_screen(console) as screen:
            split, rows = scored(args, config, data, screen)
        from diffrop.baselines.augmentation import table_notes, write_results
        from diffrop.provenance import git_commit

        for note in table_notes(split, rows, config.num_images):
            console.print(note)
        options = {key: str(value) for key, value in vars(args).items()}
        card = {
            "config": config.to_dict(),
            "data": data.to_dict(),
            "options": options,
            "git_commit": git_commit(),
            "test_counts": split.test.class_counts,
        }
        write_results(directory, card, rows)
        console.print(
            f"results {relative(directory)}/results.json and results.csv", soft_wrap=True
        )
        return 0
