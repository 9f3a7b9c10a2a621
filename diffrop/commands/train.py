"""Train an exported configuration, or a method of the paper, to its end, and score it."""

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from diffrop.config import ExperimentConfig
from diffrop.console.call import Call
from diffrop.console.commands import relative
from diffrop.console.configs import (
    experiment_changes,
    experiment_config,
    flags_named,
    for_device,
    given,
    launch_config,
    training_folder,
    with_gpu,
)
from diffrop.console.options import TRAINING_GROUPS, add_options, add_trust, command_parser
from diffrop.console.shown import command_screen
from diffrop.console.terminal import Terminal
from diffrop.console.typed import local_path
from diffrop.edge import errors_to_exit
from diffrop.errors import FaultError
from diffrop.record.exported_config import Export, load_export
from diffrop.study.config import LaunchConfig
from diffrop.study.learned import warmup_warnings

if TYPE_CHECKING:
    from diffrop.engine.final_training import FinalResult
    from diffrop.engine.progress import Screen

OMEGAS = "evaluation.guidance_scales"
RESUME_HINT = "carry on with the same command, --name {name} and --resume"


def parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    found = command_parser(command, __doc__, "%(prog)s (--config FILE | --preset NAME) [options]")
    start = found.add_argument_group("what to train").add_mutually_exclusive_group(required=True)
    start.add_argument("--config", type=local_path, metavar="FILE", help="best.yaml of a study")
    add_options(start, "preset")
    add_trust(found)
    text = "sample at the study's omega (it is chosen anew, for the length of this training)"
    found.add_argument("--keep-omega", action="store_true", help=text)
    found.add_argument("--name", help="folder in runs/ (final-, and the time)")
    add_options(found, "launch.resume", help="carry on with the training of that name")
    add_options(found, "training.seed", default="as in --config, or 0")
    found.epilog = "With --config, defaults of the data and of a trial are those of the file."
    for heading, keys in TRAINING_GROUPS.items():
        add_options(found.add_argument_group(heading), *keys)
    return found


def final_config(args: argparse.Namespace, exported: Export | None) -> ExperimentConfig:
    """Return the exported configuration, or the preset's, with what the options change.

    Raises:
        ValueError: an option is not allowed.
    """
    if args.keep_omega and (exported is None or OMEGAS in experiment_changes(args)):
        raise ValueError("--keep-omega is for --config, without --omegas")
    if exported is None:
        return experiment_config(args, vars(args)["preset"])
    if "dataset" in given(args, "data"):
        raise ValueError(
            "--dataset came with --config, which has its own. To fix: leave one of them out"
        )
    start = exported.experiment if args.keep_omega else exported.with_omegas
    with flags_named(args):
        return start.with_values(experiment_changes(args))


def omega_line(exported: Export | None, config: ExperimentConfig) -> str:
    """Return how the omega of an exported configuration comes about; empty without one."""
    if exported is None:
        return ""
    omegas = [f"{omega:g}" for omega in sorted(config.evaluation.guidance_scales)]
    if len(omegas) > 1:
        names = ", ".join(omegas)
        return f"omega will be chosen anew from {names}: {exported.found} (--keep-omega keeps it)."
    return f"omega {omegas[0]}, as asked: {exported.found}."


def export_command(checkpoint: Path) -> str:
    """Return the command that makes a folder for diffusers of a final training's checkpoint."""
    folder = checkpoint.parent.parent / "pipeline"
    return shlex.join(["diffrop", "export", "--checkpoint", str(checkpoint), "--out", str(folder)])


def trusts_extractor(args: argparse.Namespace) -> bool:
    """Return whether the extractor was typed, or --trust-code stands for that of the file."""
    typed = args.config is None or "evaluation.extractor" in experiment_changes(args)
    return typed or bool(args.trust_code)


def trained(
    config: ExperimentConfig,
    launch: LaunchConfig,
    directory: Path,
    screen: "Screen",
    trusted: bool,
    omega: str = "",
) -> "tuple[FinalResult, dict[str, Any]]":
    """Check, train and score; return what came out, and the scores of real images and noise.

    Args:
        config: what is trained.
        launch: how it runs.
        directory: of the training.
        screen: is told how far it is.
        trusted: whether an extractor of one's own may be called.
        omega: how its omega comes about, in a sentence, if that needs saying.
    """
    from diffrop.engine.final_training import prepare_final, train_final
    from diffrop.scoring.data_summary import data_lines

    tell = screen.working
    inputs, reference_scores = prepare_final(config, launch, trusted=trusted, tell=tell)
    for line in (*data_lines(inputs.dataset), *filter(None, [omega])):
        screen.say(line)
    return train_final(config, inputs, directory, launch, screen), reference_scores


def show(
    result: "FinalResult", reference_scores: Mapping[str, Any], directory: Path, console: Console
) -> int:
    """Print what came out of a training; return the exit code."""
    from diffrop.console.results import metrics_table
    from diffrop.engine.final_training import final_lines
    from diffrop.record.trial_folder import TrialFolder

    if result.interrupted:
        print(f"Interrupted: {RESUME_HINT.format(name=directory.name)}.", file=sys.stderr)
        return 130
    if result.card is None:
        raise FaultError(result.failure)
    for line in final_lines(result.card, reference_scores):
        console.print(line)
    card = result.card
    console.print(metrics_table(card.scores, card.intervals, card.extractor, console.width))
    for line in result.untracked:
        console.print(line)
    checkpoint = TrialFolder(relative(directory)).scored_checkpoint(result.card.images_seen)
    console.print(f"checkpoint {checkpoint}", soft_wrap=True)
    console.print(f"export     {export_command(checkpoint)}", soft_wrap=True)
    return 0


def main(call: Call) -> int:
    """Train, score, print; return the exit code."""
    args, console = parser(call.command).parse_args(call.argv), Terminal()
    with errors_to_exit(call.argv):
        exported = None if args.config is None else load_export(args.config)
        config, directory = final_config(args, exported), training_folder(args, "final")
        launch = launch_config(args, call.environment.get("MLFLOW_TRACKING_URI"))
        with command_screen(console) as screen:
            launch = with_gpu(launch, vars(args))
            if exported is None:
                asked, on_gpu = experiment_changes(args), launch.gpus_per_worker > 0
                config = for_device(config, asked, on_gpu)
            for line in warmup_warnings([config.training]):
                screen.say(line)
            trusted, omega = trusts_extractor(args), omega_line(exported, config)
            result, scores = trained(config, launch, directory, screen, trusted, omega)
        return show(result, scores, directory, console)
