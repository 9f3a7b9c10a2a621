"""Score images: a folder of each class, an .npz with labels, or what a checkpoint draws."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from diffrop.activity import Tell
from diffrop.console.call import Call
from diffrop.console.configs import (
    experiment_changes,
    experiment_config,
    flags_named,
    given,
    runs_root,
)
from diffrop.console.drawing import Drawing, add_drawing, drawing_of
from diffrop.console.options import (
    DATA_OPTIONS,
    EXTRACTOR_OPTIONS,
    add_options,
    add_trust,
    command_parser,
)
from diffrop.console.shown import command_screen
from diffrop.console.terminal import Terminal
from diffrop.console.typed import local_path, new_file
from diffrop.edge import errors_to_exit
from diffrop.storage import write_atomically

if TYPE_CHECKING:
    from diffrop.checkpoint_file import Checkpoint
    from diffrop.config import ExperimentConfig
    from diffrop.data import Dataset, LabelledImages
    from diffrop.engine.progress import Screen
    from diffrop.metrics.report import ShotReport

OF_CHECKPOINTS = {
    "omega": "--omega",
    "sampler": "--sampler",
    "evaluation.num_samples": "--num-samples",
    "evaluation.seed": "--seed",
}
"""Options that say how to draw; images in files are drawn already."""


def parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    usage = "%(prog)s (--samples PATH | --checkpoint FILE) [options]"
    found = command_parser(command, __doc__, usage)
    what = found.add_argument_group("what to do").add_mutually_exclusive_group(required=True)
    words = "score a folder with a folder of images for each class, or an .npz (arr_0, arr_1)"
    what.add_argument("--samples", type=local_path, metavar="PATH", help=words)
    words = "score what a checkpoint draws (.safetensors)"
    what.add_argument("--checkpoint", type=local_path, metavar="FILE", help=words)
    words = "score nothing, write the reference's mean and covariance (.npz with mu, sigma)"
    what.add_argument("--write-statistics", type=new_file, metavar="FILE", help=words)
    words = "compare with statistics (.npz with mu, sigma) in place of reference images"
    found.add_argument("--reference-statistics", type=local_path, metavar="FILE", help=words)
    found.add_argument("--out", type=new_file, metavar="FILE", help="write all scores as JSON")
    drawing = found.add_argument_group("how a checkpoint draws")
    add_drawing(drawing)
    study = "as in the checkpoint's study"
    add_options(drawing, "evaluation.num_samples", default=study)
    add_options(drawing, "evaluation.seed", default=study)
    found.epilog = "With --checkpoint, defaults of data and extractor are those of its study."
    add_options(found.add_argument_group("the data"), *DATA_OPTIONS)
    scoring = found.add_argument_group("the scores")
    add_options(scoring, *EXTRACTOR_OPTIONS, "settings", "launch.runs_root")
    add_trust(scoring)
    return found


def check_options(args: argparse.Namespace) -> None:
    """Raise ValueError for options that do not go together."""
    drawing = [flag for key, flag in OF_CHECKPOINTS.items() if vars(args).get(key) is not None]
    if args.checkpoint is None and drawing:
        raise ValueError(f"{drawing[0]} says how a checkpoint draws; allowed with: --checkpoint")
    if args.checkpoint is not None and "dataset" in given(args, "data"):
        raise ValueError(
            "--dataset came with --checkpoint, which has its own. To fix: leave one of them out"
        )
    others = [f"--{key.replace('_', '-')}" for key in given(args, "data") if "reference" in key]
    others += ["--write-statistics"] if args.write_statistics is not None else []
    if args.reference_statistics is not None and others:
        raise ValueError(
            f"--reference-statistics came with {others[0]}. To fix: leave one of them out"
        )


def configured(
    args: argparse.Namespace, how: Drawing | None, tell: Tell
) -> "tuple[ExperimentConfig, Dataset, Checkpoint | None]":
    """Return how to score, against which data set, and the checkpoint if there is one.

    Args:
        args: the options.
        how: the checkpoint draws; None without one.
        tell: is told how far it is.

    Raises:
        ValueError: an option is not allowed, or does not fit the data or the checkpoint.
        CheckpointError: the checkpoint is damaged or foreign.
    """
    from diffrop.data import load_dataset
    from diffrop.scoring.score import check_scorable, scored_groups

    if how is None:
        config = experiment_config(args, None)
        dataset = load_dataset(config.data, tell)
        scored_groups(dataset)
        return config, dataset, None
    from diffrop.checkpoint_file import read_checkpoint
    from diffrop.engine.sample_scores import checkpoint_config
    from diffrop.scoring.checkpoint_samples import sampling_of

    checkpoint = read_checkpoint(args.checkpoint)
    sampling_of(checkpoint, how.sampler)
    with flags_named(args):
        config, dataset = checkpoint_config(checkpoint, experiment_changes(args), tell)
    check_scorable(config, dataset, [config.evaluation.num_samples])
    return config, dataset, checkpoint


def remarks(samples: "LabelledImages") -> list[str]:
    """Return what of the images a reader must know: files left out, and unequal classes."""
    counts = samples.class_counts
    unequal = (
        f"The classes have {min(counts):,} to {max(counts):,} images; in the reference all have "
        "the same mass."
    )
    return [*samples.notes, *([unequal] if len(set(counts)) > 1 else [])]


def run(args: argparse.Namespace, how: Drawing | None, screen: "Screen") -> "ShotReport | str":
    """Score, or write statistics; return the report, or a sentence of what was written.

    Args:
        args: the options.
        how: the checkpoint draws; None without one.
        screen: is told how far it is.

    Raises:
        ValueError: an option or a file is not allowed.
        CheckpointError: the checkpoint is damaged or foreign.
    """
    import torch

    from diffrop.data.sample_sets import read_samples
    from diffrop.engine.sample_scores import SampleSet, drawn_samples, score_samples, score_target
    from diffrop.metrics.statistics_file import write_statistics

    config, dataset, checkpoint = configured(args, how, screen.working)
    samples = None
    if args.samples is not None:
        images = read_samples(args.samples, dataset, screen.working)
        samples = SampleSet(images, args.samples.resolve().name)
        for line in remarks(images):
            screen.say(line)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trusted = checkpoint is None or "evaluation.extractor" in experiment_changes(args)
    target = score_target(
        config,
        dataset,
        runs_root(args).resolve() / ".cache",
        device,
        args.reference_statistics,
        trusted=trusted or args.trust_code,
        tell=screen.working,
    )
    if args.write_statistics is not None:
        statistics = target.reference.statistics["all"]
        write_statistics(args.write_statistics, statistics, target.extractor.name)
        return (
            f"{args.write_statistics}: mu and sigma of the {target.reference.name}, "
            f"{statistics.count:,} images, on {target.extractor.name}"
        )
    if checkpoint is not None and how is not None:
        asked = how.sampler, how.omega
        samples = drawn_samples(checkpoint, config, *asked, device, screen.working)
    assert samples is not None  # of three options there is one
    return score_samples(samples, target, device, screen.working)


def summary(report: "ShotReport", omega: float | None) -> str:
    """Return in one sentence what the scores are of."""
    found, counts = report.protocol, report.num_samples
    shots = {count for group, count in counts.items() if group != "all"}
    groups = f", N = {shots.pop():,} per shot group" if len(shots) == 1 else ""
    guided = "" if omega is None else f", omega {omega:g}"
    return (
        f"{found.sampler}{guided}: N = {counts['all']:,} over all classes{groups}, on "
        f"{found.extractor}, against the {found.reference}; +- half the 95% interval over samples."
    )


def main(call: Call) -> int:
    """Score, print, write; return the exit code."""
    args, console = parser(call.command).parse_args(call.argv), Terminal()
    with errors_to_exit(call.argv):
        check_options(args)
        how = None
        if args.checkpoint is not None:
            how = drawing_of(args.checkpoint, args.omega, args.sampler)
        with command_screen(console) as screen:
            report = run(args, how, screen)
        if isinstance(report, str):
            console.print(report, soft_wrap=True)
            return 0
        from diffrop.console.results import metrics_table

        omega = None if how is None else how.omega
        extractor = report.protocol.extractor
        console.print(metrics_table(report.scores, report.intervals, extractor, console.width))
        console.print(summary(report, omega), soft_wrap=True)
        if how is not None and how.words:
            console.print(how.words, soft_wrap=True)
        if args.out is not None:
            values: dict[str, Any] = {**report.to_dict(), "omega": omega}
            write_atomically(args.out, json.dumps(values, indent=2) + "\n")
            console.print(str(args.out), soft_wrap=True)
        return 0
