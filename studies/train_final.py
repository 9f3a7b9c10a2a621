"""Train an exported configuration to its end, and score it."""

import argparse
import os
import sys
import time
from pathlib import Path

from rich.console import Console

from diffrop import cluster
from diffrop.cli import (
    Formatter,
    add_launch_options,
    errors_to_exit,
    launch_config,
    relative,
    setting,
)
from diffrop.data import load_dataset
from diffrop.errors import StudyError
from diffrop.search.config import check_name
from diffrop.search.engine import scoring_inputs, tracking_uri
from diffrop.search.final import load_export, train_final
from diffrop.tracking import checked_uri
from diffrop.training.network import check_network
from diffrop.training.trainer import check_batch_fits_workers


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the parsed options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=Formatter, usage="%(prog)s --config FILE [options]"
    )
    add = parser.add_argument
    add("--config", type=Path, required=True, metavar="FILE", help="best.yaml of a study")
    add("--name", help="folder in runs/ (final-, and the time)")
    add("--resume", action="store_true", help="carry on with the training of that name")
    add("--images", type=int, metavar="N", help="images seen in all (as in the study)")
    add("--seed", type=int, metavar="N", help="of the training (as in the study)")
    add("--num-samples", type=int, metavar="N", help="images of the score (as in the study)")
    add(
        "--set", type=setting, action="append", default=[], metavar="KEY=VALUE",
        dest="settings", help="any other key of the configuration; may be repeated",
    )  # fmt: skip
    add_launch_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str], environment: dict[str, str]) -> int:
    """Train, score, print; return the exit code."""
    args, console = parse(argv), Console(highlight=False)
    with errors_to_exit():
        given = {
            "training.num_images": args.images,
            "training.seed": args.seed,
            "evaluation.num_samples": args.num_samples,
        }
        changes = {key: value for key, value in given.items() if value is not None}
        config = load_export(args.config).with_values(changes | dict(args.settings))
        launch = launch_config(args, environment.get("MLFLOW_TRACKING_URI"))
        root = Path(launch.runs_root).resolve()
        if args.resume and args.name is None:
            raise ValueError("--resume needs --name, the name of the training to carry on with")
        directory = root / check_name(args.name or time.strftime("final-%Y%m%d-%H%M%S"))
        if directory.exists() != args.resume:
            state = "does not exist" if args.resume else "exists; carry it on with --resume"
            raise StudyError(f"{directory} {state}")
        checked_uri(tracking_uri(launch))
        check_batch_fits_workers(config, launch.workers_per_trial)
        if launch.ray_address == "local":
            cluster.check_resources(launch, *cluster.local_resources())
        dataset = load_dataset(config.data)
        check_network(config, dataset)
        inputs, anchors = scoring_inputs(config.evaluation, dataset, root)
        result = train_final(config, inputs, directory, launch, console)
    if result.card is None:
        print(f"error: {result.failure}", file=sys.stderr)
        return 2
    card = result.card
    for group, count in card.num_samples.items():
        real, noise = (anchors[kind]["scores"].get(f"fid/{group}") for kind in ("real", "noise"))
        beside = f" (real images {real:.2f}, noise {noise:.2f})" if real and noise else ""
        console.print(f"fid/{group} {card.scores[f'fid/{group}']:.2f} at N = {count:,}{beside}")
    console.print(
        f"omega {card.omega:g}, {card.sampler}, {card.extractor}, {card.images_seen:,} images"
    )
    for line in result.untracked:
        console.print(line)
    checkpoint = sorted((relative(directory) / "checkpoints").glob("*.safetensors"))[-1]
    console.print(f"checkpoint {checkpoint}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
