"""Configurations from what was given on the command line."""

import argparse
import contextlib
import dataclasses
import time
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from diffrop.config import DataConfig, ExperimentConfig
from diffrop.console.option_table import OPTIONS
from diffrop.console.options import PARTS
from diffrop.errors import StudyError
from diffrop.presets import apply_preset
from diffrop.recipes import SCALED, Recipe, recipe
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.json_files import read_record
from diffrop.record.settings import config_of, read_settings
from diffrop.record.study_folder import StudyFolder
from diffrop.schema import FieldError, flatten
from diffrop.study.config import LaunchConfig, StudyConfig, check_name
from diffrop.study.space import SearchSpace, load_points

SCALED_KEYS = tuple(f"training.{name}" for name in SCALED)


def given(args: argparse.Namespace, owner: str) -> dict[str, Any]:
    """Return what was given of a configuration, by the names of its fields.

    Args:
        args: what was parsed.
        owner: first word of the keys, such as "launch" or "data".
    """
    start = f"{owner}."
    return {
        key.removeprefix(start): value
        for key, value in vars(args).items()
        if key.startswith(start)
    }


@contextlib.contextmanager
def flags_named(args: argparse.Namespace, owner: str = "") -> Iterator[None]:
    """Have an error about a value that was given by an option begin with the option's flag.

    Args:
        args: what was parsed.
        owner: first word of the options' keys, where the configuration's own keys lack it.
    """
    try:
        yield
    except FieldError as error:
        field = error.key.partition("[")[0]  # also of one item of a list
        key = f"{owner}.{field}" if owner else field
        if key not in vars(args) or key in dict(vars(args).get("settings", ())):
            raise
        raise ValueError(f"{OPTIONS[key].flags.split()[0]}: {error}") from error


def experiment_changes(args: argparse.Namespace) -> dict[str, Any]:
    """Return by dotted key what was given of the experiment; --set comes last."""
    starts = tuple(f"{part}." for part in PARTS)
    found = {key: value for key, value in vars(args).items() if key.startswith(starts)}
    return found | dict(vars(args).get("settings", ()))


def chosen_recipe(args: argparse.Namespace) -> Recipe:
    """Return the recipe of the dataset that was given, or of the default one."""
    return recipe(given(args, "data").get("dataset", DataConfig().dataset))


def experiment_config(
    args: argparse.Namespace, preset: str | None, settings: Mapping[str, Any] | None = None
) -> ExperimentConfig:
    """Return the recipe's experiment with a preset, the command's own keys, and the options.

    Raises:
        ValueError: a key is unknown, or a value is not allowed.
    """
    experiment = sized_recipe(args, settings).experiment
    if preset is not None:
        experiment = apply_preset(preset, experiment)
    with flags_named(args):
        return experiment.with_values({**(settings or {}), **experiment_changes(args)})


def sized_recipe(args: argparse.Namespace, settings: Mapping[str, Any] | None = None) -> Recipe:
    """Return the dataset's recipe for as many images as the options, or the command, ask for.

    Raises:
        ValueError: the number is not allowed.
    """
    chosen, key = chosen_recipe(args), "training.num_images"
    asked = {**(settings or {}), **experiment_changes(args)}
    if key not in asked:
        return chosen
    with flags_named(args):
        bare = chosen.experiment.with_values({key: asked[key]})
    return chosen.for_images(bare.training.num_images)


def for_device(
    experiment: ExperimentConfig, asked: Container[str], on_gpu: bool
) -> ExperimentConfig:
    """Return a recipe's experiment as the device trains it: CPUs emulate bf16, slowly.

    Args:
        experiment: with all changes.
        asked: the dotted keys that were asked for; a precision among them stays.
        on_gpu: whether it is trained on GPUs; else its precision becomes fp32.
    """
    if on_gpu or "training.precision" in asked:
        return experiment
    return experiment.with_values({"training.precision": "fp32"})


def study_config(
    args: argparse.Namespace,
    kind: str,
    space: Path,
    settings: Mapping[str, Any] | None = None,
) -> StudyConfig:
    """Build the study from parsed options.

    Args:
        args: of `study_parser`.
        kind: name of the kind of study, for the name of an unnamed one.
        space: search space, unless the options name another.
        settings: what this kind of study changes of the recipe: fields of StudyConfig, and dotted
            keys of the experiment. Options come after them.

    Raises:
        ValueError: an option is not allowed, or --resume came without a name.
    """
    asked = given(args, "study")
    if "resume" in given(args, "launch") and "name" not in asked:
        raise ValueError("--resume needs --study-name, the name of the study to carry on with")
    own = dict(settings or {})
    keys = {key: own.pop(key) for key in list(own) if "." in key}
    start = sized_recipe(args, keys)
    experiment = experiment_config(args, vars(args).get("preset"), keys)
    chosen_space = SearchSpace.load(asked.get("space", space))
    if "points" in asked:
        asked["points"] = load_points(asked["points"], chosen_space)
    asked["name"] = asked.get("name") or f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}"
    fields: dict[str, Any] = {
        "num_trials": start.num_trials,
        "first_rung_images": start.first_rung_images,
        "rung_samples": start.rung_samples,
    }
    fields |= own | asked | {"space": chosen_space, "experiment": experiment}
    with flags_named(args, "study"):
        return StudyConfig(**fields)


def as_begun(config: StudyConfig, asked: Container[str], folder: StudyFolder) -> StudyConfig:
    """Return a study that is gone on with, with the shares of a training that it began with.

    An earlier version's recipe may have chosen others: see `Recipe.for_images`.

    Args:
        config: as this version's recipe has it.
        asked: the keys that were asked for; they stay.
        folder: of the study; without one nothing is known of its beginning.

    Raises:
        StudyError: its study.yaml is damaged.
    """
    if not folder.config.exists():
        return config
    begun = config_of(folder, read_settings(folder))
    values = flatten(begun.experiment.to_dict())
    kept = {key: values[key] for key in SCALED_KEYS if key not in asked}
    changes: dict[str, Any] = {"experiment": config.experiment.with_values(kept)}
    if "study.first_rung_images" not in asked:
        changes["first_rung_images"] = begun.first_rung_images
    return dataclasses.replace(config, **changes)


def launch_config(
    args: argparse.Namespace,
    tracking_uri: str | None,
    defaults: Mapping[str, Any] | None = None,
) -> LaunchConfig:
    """Build the launch from parsed options; without a GPU where they name none: see `with_gpu`.

    Args:
        args: what was parsed.
        tracking_uri: MLflow's, where the options name none.
        defaults: other fields that the options leave open.
    """
    asked = {**(defaults or {}), **given(args, "launch")}
    asked["tracking_uri"] = asked.get("tracking_uri") or tracking_uri
    with flags_named(args, "launch"):
        return LaunchConfig(**asked)


def with_gpu(launch: LaunchConfig, asked: Container[str]) -> LaunchConfig:
    """Return a launch that uses a GPU where there is one, unless the options say how many.

    Args:
        launch: of `launch_config`.
        asked: the keys that were asked for.
    """
    if "launch.gpus_per_worker" in asked:
        return launch
    import torch  # it takes seconds: what was typed wrong is refused before

    return dataclasses.replace(launch, gpus_per_worker=float(torch.cuda.is_available()))


def on_this_machine(
    config: StudyConfig, launch: LaunchConfig, asked: Container[str]
) -> tuple[StudyConfig, LaunchConfig]:
    """Return a study and a launch, as they were typed, with what depends on the machine's GPUs.

    Args:
        config: as `study_config` gives it.
        launch: as `launch_config` gives it.
        asked: the keys that were asked for; they stay.
    """
    launch = with_gpu(launch, asked)
    experiment = for_device(config.experiment, asked, launch.gpus_per_worker > 0)
    return dataclasses.replace(config, experiment=experiment), launch


def confirmation_asked(
    args: argparse.Namespace, folder: StudyFolder, settings: Mapping[str, Any] | None = None
) -> dict[str, int]:
    """Return leaders and seeds of a confirmation, as fields of a launch.

    A study that is gone on with confirms as it began to; another one as its recipe says. A kind
    of study with a number of trials of its own is no part of the recipe's budget, and confirms
    nothing.

    Args:
        args: what was parsed.
        folder: of the study.
        settings: as in `study_config`.
    """
    resumes = "resume" in given(args, "launch")
    begun = read_record(folder.confirmation, ConfirmationRecord) if resumes else None
    if begun is not None:
        return {"confirm": len(begun.leaders), "confirm_seeds": begun.num_seeds}
    if "num_trials" in (settings or {}):
        return {}
    chosen = chosen_recipe(args)
    return {"confirm": chosen.confirm, "confirm_seeds": chosen.confirm_seeds}


def runs_root(args: argparse.Namespace) -> Path:
    """Return the runs folder of a command that builds no launch of its options."""
    return Path(LaunchConfig(**given(args, "launch")).runs_root)


def training_folder(args: argparse.Namespace, start: str) -> Path:
    """Return the folder of a single training: that of --name, else one of the time.

    Args:
        args: what was parsed, with --name and perhaps --resume.
        start: what the name of an unnamed training starts with.

    Raises:
        ValueError: the name is not allowed, or --resume came without one.
        StudyError: the folder exists, or with --resume does not.
    """
    resume = "resume" in given(args, "launch")
    if resume and args.name is None:
        raise ValueError("--resume needs --name, the name of the training to carry on with")
    name = check_name(args.name or time.strftime(f"{start}-%Y%m%d-%H%M%S"))
    folder = runs_root(args).resolve() / name
    if folder.exists() != resume:
        state = "does not exist" if resume else "exists; carry it on with --resume"
        raise StudyError(f"{folder} {state}")
    return folder
