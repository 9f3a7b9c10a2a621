"""The options that say what is trained, shared by the commands that search and that train."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import yaml

from diffrop.config import ExperimentConfig, Objective, ObjectiveLoss, OmegaSearch
from diffrop.data import DATASETS
from diffrop.metrics.extractors import EXTRACTORS
from diffrop.presets import PRESETS, apply_preset
from diffrop.recipes import Recipe, recipe

PATH_KEYS = ("training.init_from", "evaluation.extractor_weights")


class Formatter(argparse.HelpFormatter):
    """Help in 80 columns with the option names in one wide column."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=80)


def numbers(text: str) -> tuple[float, ...]:
    """Parse "0,0.5,1"."""
    return tuple(float(part) for part in text.split(","))


def names(text: str) -> list[str]:
    """Parse "color,cutout"; an empty text is an empty list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def setting(text: str) -> tuple[str, Any]:
    """Parse "training.learning_rate=1e-4"; the value is read as YAML."""
    key, mark, value = text.partition("=")
    if not mark:
        raise argparse.ArgumentTypeError(f"{text!r} is no KEY=VALUE")
    return key.strip(), yaml.safe_load(value)


def choices_of(alias: Any) -> tuple[str, ...]:
    """Return the strings of a Literal."""
    values: tuple[str, ...] = alias.__args__
    return values


def parse_factor(text: str) -> float | None:
    """Parse an imbalance factor, None for `own`; ValueError says what is allowed."""
    try:
        return None if text == "own" else float(text)
    except ValueError as error:
        raise ValueError(f"--imbalance-factor is {text!r}; allowed: a number, or own") from error


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the images."""
    add = parser.add_argument_group("the data").add_argument
    add(
        "--dataset",
        choices=tuple(DATASETS),
        metavar="NAME",
        help=f"{', '.join(list(DATASETS)[1:])} (digits)",
    )
    add(
        "--data-root",
        metavar="DIR",
        help="image_folder: holds a folder for each class; else torchvision's folder",
    )
    add(
        "--imbalance-factor",
        metavar="X",
        help="rarest over most frequent class, or `own` for the data's own counts",
    )
    add("--image-size", type=int, metavar="PIXELS", help="for image_folder (32)")
    add(
        "--reference",
        choices=("train", "heldout"),
        help="real images that samples are scored against: the full training set, or the test "
        "split (train)",
    )
    add("--reference-root", metavar="DIR", help="or a folder of one's own, as for --data-root")


def data_changes(args: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `DataConfig` that the options of `add_data_options` change.

    Raises:
        ValueError: the imbalance factor is no number.
    """
    given = {
        "root": args.data_root,
        "image_size": args.image_size,
        "reference": args.reference,
        "reference_root": args.reference_root,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    for key in ("root", "reference_root"):
        if key in changes:
            changes[key] = str(Path(changes[key]).resolve())
    if args.imbalance_factor is not None:
        changes["imbalance_factor"] = parse_factor(args.imbalance_factor)
    return changes


def add_method_options(add: Any) -> None:
    """Add the options that choose the method; `add` is an `add_argument`."""
    add(
        "--objective-loss",
        choices=choices_of(ObjectiveLoss),
        metavar="NAME",
        help="what the contrastive loss is added to: ddpm or cbdm (ddpm)",
    )
    add(
        "--diffaug",
        type=names,
        metavar="X,X,...",
        help="augment by any of color, translation, cutout",
    )
    add("--init-from", metavar="FILE", help="start from a checkpoint's weights (fine-tuning)")


def add_extractor_options(add: Any) -> None:
    """Add the options of what images are scored by; `add` is an `add_argument`."""
    add(
        "--extractor",
        metavar="NAME",
        help=f"of the features: {', '.join(EXTRACTORS)}, or package.module:factory",
    )
    add(
        "--extractor-weights",
        metavar="FILE",
        help="its weights, or URL#sha256=HEX (as published)",
    )


def add_trial_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of one training and its score."""
    group = parser.add_argument_group("a trial")
    add = group.add_argument
    add_method_options(add)
    add("--images", type=int, metavar="N", help="images seen in a full training")
    add("--batch-size", type=int, metavar="N", help="global, over all workers")
    add("--num-samples", type=int, metavar="N", help="images of the final score")
    add("--omegas", type=numbers, metavar="X,X,...", help="guidance scales to choose from")
    add(
        "--samplers",
        type=names,
        metavar="NAME,...",
        help="samplers to choose from, such as ddim-8,ddim-16,ancestral",
    )
    add(
        "--ema-lengths",
        type=numbers,
        metavar="X,X,...",
        help="averages of the weights to choose from, of training.ema_lengths",
    )
    add(
        "--omega-search",
        choices=choices_of(OmegaSearch),
        help="how these are chosen: halving "
        "with growing samples, or each at the full number (halving)",
    )
    add(
        "--objective",
        type=names,
        metavar="SCORE,...",
        help=f"{', '.join(choices_of(Objective))}; several make a Pareto front (fid/all)",
    )
    add_extractor_options(add)
    add(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="any other key of the configuration, such as "
        "training.learning_rate=1e-4; may be repeated",
    )


def preset_help() -> str:
    """Return the help of --preset."""
    return f"a method of the paper: {', '.join(PRESETS)}"


def chosen_recipe(args: argparse.Namespace, on_gpu: bool) -> Recipe:
    """Return the dataset's recipe with the preset, before any other option.

    Without a GPU its precision is fp32: CPUs emulate bf16, slowly.
    """
    start = recipe(args.dataset or "digits")
    experiment = start.experiment
    if args.preset is not None:
        experiment = apply_preset(args.preset, experiment)
    if not on_gpu:
        experiment = experiment.with_values({"training.precision": "fp32"})
    return dataclasses.replace(start, experiment=experiment)


def with_options(experiment: ExperimentConfig, args: argparse.Namespace) -> ExperimentConfig:
    """Return an experiment with what the options change; --set comes last.

    Raises:
        ValueError: a value is not allowed.
    """
    changes = {
        "augmentation.diffaug": args.diffaug,
        "objective.loss": args.objective_loss,
        "training.num_images": args.images,
        "training.batch_size": args.batch_size,
        "training.init_from": args.init_from,
        "evaluation.num_samples": args.num_samples,
        "evaluation.guidance_scales": args.omegas,
        "evaluation.extractor": args.extractor,
        "evaluation.objectives": args.objective,
        "evaluation.constraints": getattr(args, "constraints", None),
        "evaluation.samplers": args.samplers,
        "evaluation.ema_lengths": args.ema_lengths,
        "evaluation.omega_search": args.omega_search,
        "evaluation.extractor_weights": args.extractor_weights,
    }
    given = {key: value for key, value in changes.items() if value is not None}
    given |= {f"data.{key}": value for key, value in data_changes(args).items()}
    for key in PATH_KEYS:
        if key in given and "://" not in given[key]:
            given[key] = str(Path(given[key]).resolve())
    return experiment.with_values(given | dict(args.settings))
