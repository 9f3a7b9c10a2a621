"""Score finished checkpoints in every way of sampling that is asked for; trains nothing.

By itself it scores every guidance scale omega (Figure 4b).
"""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from diffrop.console.call import Call
from diffrop.console.commands import relative
from diffrop.console.configs import experiment_changes, flags_named, runs_root
from diffrop.console.options import add_options, add_trust, command_parser, shown
from diffrop.console.shown import command_screen
from diffrop.console.terminal import Terminal
from diffrop.console.typed import local_path, whole_numbers
from diffrop.edge import errors_to_exit
from diffrop.study.config import check_name

if TYPE_CHECKING:
    import pandas as pd

    from diffrop.engine.progress import Screen

OMEGAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)


def parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    found = command_parser(command, __doc__)
    add = found.add_argument
    add("--study", metavar="NAME", help="whose checkpoints (the newest with results)")
    add(
        "--trials", type=whole_numbers, metavar="N,N,...", help="(the baseline and the best other)"
    )
    add(
        "--checkpoint",
        type=local_path,
        nargs="+",
        metavar="FILE",
        help="or checkpoints of one's own",
    )
    scales = "guidance scales to score"
    add_options(found, "evaluation.guidance_scales", help=scales, default=shown(OMEGAS))
    study = "as in the study"
    words = "samplers to score, such as ddim-8,ddim-8-unclipped,dpmpp-8,heun-5,ancestral"
    add_options(found, "evaluation.samplers", help=words, default=study)
    words = "where omega applies, each to be scored: shares of T such as 0-1,0.2-0.7"
    add_options(found, "evaluation.guidance_intervals", help=words, default=study)
    words = "what omega guides with, each to be scored: the training at shares of it; none,0.25"
    add_options(found, "evaluation.guides", help=words, default=study)
    words = "averages of the weights to score; none is the exponential one"
    add_options(found, "evaluation.ema_lengths", help=words, default=study)
    add_options(found, "evaluation.num_samples", help="for each choice", default=study)
    add_options(found, "evaluation.seed", default=study)
    add_options(found, "evaluation.extractor", default=study)
    add_trust(found)
    add_options(found, "launch.runs_root")
    add("--name", help="folder in runs/ (guidance-, and the time)")
    return found


def checkpoints(args: argparse.Namespace) -> dict[str, Path]:
    """Return the checkpoints that are asked for, by their labels; ValueError if there are none."""
    if args.checkpoint is not None:
        if args.study is not None or args.trials is not None:
            raise ValueError(
                "--checkpoint came with --study or --trials. To fix: give one of them"
            )
        stems = {path.stem for path in args.checkpoint}
        distinct = len(stems) == len(args.checkpoint)
        return {
            path.stem if distinct else f"{path.resolve().parent.name}/{path.stem}": path
            for path in args.checkpoint
        }
    from diffrop.engine.guidance_sweep import newest_study, study_checkpoints

    root = runs_root(args).resolve()
    study = newest_study(root) if args.study is None else root / check_name(args.study)
    return study_checkpoints(study, args.trials)


def scored(args: argparse.Namespace, root: Path, screen: "Screen") -> "pd.DataFrame":
    """Score every checkpoint at every choice, and show which they are.

    Raises:
        ValueError: an option is not allowed, or does not fit the checkpoints.
    """
    import torch

    from diffrop.engine.guidance_sweep import ready_to_sample, score_choices

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    changes = {"evaluation.guidance_scales": OMEGAS, **experiment_changes(args)}
    files, trusted, cache = checkpoints(args), args.trust_code, root / ".cache"
    tell = screen.working
    with flags_named(args):
        swept, inputs = ready_to_sample(
            files, changes, cache, device, trust_code=trusted, tell=tell
        )
    for each in swept:
        screen.say(f"{each.label}, {each.images_seen:,} images seen")
    return score_choices(swept, inputs, tell)


def main(call: Call) -> int:
    """Score, print, write; return the exit code."""
    args, console = parser(call.command).parse_args(call.argv), Terminal()
    with errors_to_exit(call.argv):
        root = runs_root(args).resolve()
        folder = root / check_name(args.name or time.strftime("guidance-%Y%m%d-%H%M%S"))
        if folder.exists():
            raise ValueError(f"folder {str(folder)!r} exists. To fix: give a new --name")
        with command_screen(console) as screen:
            frame = scored(args, root, screen)
        from diffrop.analysis.figures.guidance_sweep import write_guidance_sweep
        from diffrop.engine.guidance_sweep import sweep_tables

        for heading, table in sweep_tables(frame).items():
            console.print(f"\n{heading}", soft_wrap=True)
            console.print(table)
        count = frame.loc[frame["score"] == "fid/all", "num_samples"].iloc[0]
        console.print(
            f"\nFID on {frame['extractor'].iloc[0]}, N = {count:,}, against the "
            f"{frame['reference'].iloc[0]}, +- half the 95% interval over samples; * least "
            "of its column."
        )
        for path in write_guidance_sweep(frame, folder):
            console.print(str(relative(path)), soft_wrap=True)
        return 0
