"""Train a GAN baseline (CBGAN, gSR or SNGAN) and score it as a trial is scored."""

import argparse
import dataclasses
import json
import sys

from diffrop.baselines.gan_config import GanConfig, gan_recipe
from diffrop.config import DataConfig, EvaluationConfig
from diffrop.console.commands import relative
from diffrop.console.configs import chosen_recipe, flags_named, given, training_folder
from diffrop.console.options import DATA_OPTIONS, EXTRACTOR_OPTIONS, add_options, command_parser
from diffrop.console.terminal import Terminal
from diffrop.edge import errors_to_exit


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the parsed options."""
    parser = command_parser(__doc__)
    add_options(parser, "gan.model")
    add_options(parser.add_argument_group("the data"), *DATA_OPTIONS)
    add_options(parser, "gan.num_images")
    add_options(parser, "evaluation.num_samples", help="images of the score")
    add_options(parser, "gan.seed")
    words = "any other key of GanConfig, such as spectral_weight=1; may be repeated"
    add_options(parser, "settings", help=words)
    add_options(parser, *EXTRACTOR_OPTIONS, "launch.runs_root")
    parser.add_argument("--name", help="folder in runs/ (the model, and the time)")
    add_options(parser, "launch.resume", help="carry on with the training of that name")
    return parser.parse_args(argv)


def configs(args: argparse.Namespace) -> tuple[GanConfig, DataConfig, EvaluationConfig]:
    """Return what the options say; ValueError if something is not allowed."""
    start = chosen_recipe(args).experiment
    with flags_named(args, "data"):
        data = dataclasses.replace(start.data, **given(args, "data"))
    evaluation = dataclasses.replace(start.evaluation, **given(args, "evaluation"))
    asked = given(args, "gan")
    gan = gan_recipe(asked.get("model", GanConfig().model), data.dataset).to_dict()
    settings = dict(vars(args).get("settings", ()))
    with flags_named(args, "gan"):
        return GanConfig.from_dict(gan | asked | settings), data, evaluation


def main(argv: list[str]) -> int:
    """Train, score, print; return the exit code."""
    args, console = parse(argv), Terminal()
    with errors_to_exit(argv):
        gan, data, evaluation = configs(args)
        directory = training_folder(args, gan.model)
        import torch

        from diffrop.baselines.gan_study import report_lines, run_gan
        from diffrop.data import load_dataset
        from diffrop.engine.prepare import scoring_inputs
        from diffrop.scoring.data_summary import data_lines
        from diffrop.scoring.score import scored_groups

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dataset = load_dataset(data)
        scored_groups(dataset)  # refuses what has none
        for line in data_lines(dataset):
            console.print(line, soft_wrap=True)
        inputs, reference_scores = scoring_inputs(
            evaluation, dataset, directory.parent, trusted=True
        )
        report = run_gan(gan, data, evaluation, inputs, directory, device, console.print)
        stored = json.dumps(reference_scores)
        (directory / "anchors.json").write_text(stored, encoding="utf-8")
        for line in report_lines(report, reference_scores, gan, inputs.extractor.name):
            console.print(line)
        console.print(
            f"checkpoint, report.json, samples.png: {relative(directory)}", soft_wrap=True
        )
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
