"""Train a GAN baseline (CBGAN, gSR or SNGAN) and score it as a trial is scored."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from diffrop.baselines.gan_config import GanConfig, gan_recipe
from diffrop.config import DataConfig, EvaluationConfig
from diffrop.console.call import Call
from diffrop.console.commands import relative
from diffrop.console.configs import chosen_recipe, flags_named, given, training_folder
from diffrop.console.options import DATA_OPTIONS, EXTRACTOR_OPTIONS, add_options, command_parser
from diffrop.console.shown import command_screen
from diffrop.console.terminal import Terminal
from diffrop.edge import errors_to_exit

if TYPE_CHECKING:
    from diffrop.engine.progress import Screen


def parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    found = command_parser(command, __doc__)
    add_options(found, "gan.model")
    add_options(found.add_argument_group("the data"), *DATA_OPTIONS)
    add_options(found, "gan.num_images")
    add_options(found, "evaluation.num_samples", help="images of the score")
    add_options(found, "gan.seed")
    words = "any other key of GanConfig, such as spectral_weight=1; may be repeated"
    add_options(found, "settings", help=words)
    add_options(found, *EXTRACTOR_OPTIONS, "launch.runs_root")
    found.add_argument("--name", help="folder in runs/ (the model, and the time)")
    add_options(found, "launch.resume", help="carry on with the training of that name")
    return found


def configs(args: argparse.Namespace) -> tuple[GanConfig, DataConfig, EvaluationConfig]:
    """Return what the options say; ValueError if something is not allowed."""
    start = chosen_recipe(args).experiment
    with flags_named(args, "data"):
        data = dataclasses.replace(start.data, **given(args, "data"))
    with flags_named(args, "evaluation"):
        evaluation = dataclasses.replace(start.evaluation, **given(args, "evaluation"))
    asked = given(args, "gan")
    gan = gan_recipe(asked.get("model", GanConfig().model), data.dataset).to_dict()
    settings = dict(vars(args).get("settings", ()))
    with flags_named(args, "gan"):
        return GanConfig.from_dict(gan | asked | settings), data, evaluation


def trained(
    gan: GanConfig,
    data: DataConfig,
    evaluation: EvaluationConfig,
    directory: Path,
    screen: "Screen",
) -> list[str]:
    """Train and score; return the report in lines.

    Raises:
        ValueError: something does not fit the images, or parts of the extractor are missing.
        CheckpointError: the newest checkpoint is of another training.
    """
    import torch

    from diffrop.baselines.gan_study import report_lines, run_gan
    from diffrop.data import load_dataset
    from diffrop.engine.prepare import scoring_inputs
    from diffrop.scoring.data_summary import data_lines
    from diffrop.scoring.score import scored_groups

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dataset = load_dataset(data, screen.working)
    scored_groups(dataset)  # refuses what has none
    for line in data_lines(dataset):
        screen.say(line)
    inputs, reference_scores = scoring_inputs(
        evaluation, dataset, directory.parent, trusted=True, tell=screen.working
    )
    report = run_gan(gan, data, evaluation, inputs, directory, device, screen)
    stored = json.dumps(reference_scores)
    (directory / "anchors.json").write_text(stored, encoding="utf-8")
    return report_lines(report, reference_scores, gan, inputs.extractor.name)


def main(call: Call) -> int:
    """Train, score, print; return the exit code."""
    args, console = parser(call.command).parse_args(call.argv), Terminal()
    with errors_to_exit(call.argv):
        gan, data, evaluation = configs(args)
        directory = training_folder(args, gan.model)
        with command_screen(console) as screen:
            lines = trained(gan, data, evaluation, directory, screen)
        for line in lines:
            console.print(line)
        console.print(
            f"checkpoint, report.json, samples.png: {relative(directory)}", soft_wrap=True
        )
        return 0
