"""Parsers of the commands, made from the table of options.

An option that was given stands in the parsed arguments under its dotted key; one that was not has
no place there, so that what it would replace keeps its own default. `diffrop.console.configs`
makes configurations of them.
"""

import argparse
import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any

from diffrop.baselines.classifier_config import ClassifierConfig
from diffrop.baselines.gan_config import GanConfig
from diffrop.config import ExperimentConfig
from diffrop.console.option_table import BY_RECIPE, OPTIONS, Option
from diffrop.console.typed import names, number, numbers, whole
from diffrop.provenance import package_versions
from diffrop.recipes import RECIPES, Recipe
from diffrop.schema import Config
from diffrop.study.config import LaunchConfig, StudyConfig

OWNERS: Mapping[str, type[Config]] = {
    "study": StudyConfig,
    "launch": LaunchConfig,
    "gan": GanConfig,
    "classifier": ClassifierConfig,
    **typing.get_type_hints(ExperimentConfig),
}
"""By the first word of a key in the table: the dataclass of the field."""
PARTS = tuple(item.name for item in dataclasses.fields(ExperimentConfig))

DATA_OPTIONS = (
    "data.dataset",
    "data.root",
    "data.imbalance_factor",
    "data.image_size",
    "data.reference",
    "data.reference_root",
    "data.skip_damaged",
)
EXTRACTOR_OPTIONS = ("evaluation.extractor", "evaluation.extractor_weights")
TRIAL_OPTIONS = (
    "objective.loss",
    "augmentation.diffaug",
    "training.init_from",
    "training.num_images",
    "training.batch_size",
    "evaluation.num_samples",
    "evaluation.guidance_scales",
    "evaluation.samplers",
    "evaluation.ema_lengths",
    "evaluation.guidance_intervals",
    "evaluation.guides",
    "evaluation.omega_search",
    "evaluation.prefer_cheap",
    "evaluation.objectives",
    *EXTRACTOR_OPTIONS,
    "settings",
)
LAUNCH_OPTIONS = (
    "launch.runs_root",
    "launch.workers_per_trial",
    "launch.cpus_per_worker",
    "launch.gpus_per_worker",
    "launch.ray_address",
    "launch.max_failures",
    "launch.worker_timeout_s",
    "launch.outage_wait_s",
    "launch.tracking_uri",
)
TRAINING_GROUPS = {
    "the data": DATA_OPTIONS,
    "a trial": TRIAL_OPTIONS,
    "where it runs": LAUNCH_OPTIONS,
}
"""What every command that trains a diffusion model offers."""
STUDY_OPTIONS = (
    "study.num_trials",
    "study.space",
    "study.seed",
    "preset",
    "launch.storage",
    "launch.storage_path",
    "notify",
)
SEARCH_OPTIONS = (
    "study.sampler",
    "study.scheduler",
    "study.first_rung_images",
    "study.rung_samples",
    "study.rung_steps",
    "study.reduction_factor",
    "study.audit_fraction",
    "study.fork_from",
    "study.points",
    "study.warm_start",
    "evaluation.constraints",
    "launch.max_concurrent",
)
BUDGET_OPTIONS = (
    "launch.confirm",
    "launch.confirm_seeds",
    "launch.budget_gpu_hours",
    "launch.budget_wall_s",
    "launch.price_per_gpu_hour",
    "launch.keep_trials",
)


class Formatter(argparse.HelpFormatter):
    """Help in 80 columns with the option names in one wide column."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=80)


class VersionAction(argparse.Action):
    """Print the version of the installed package, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print and leave."""
        print(f"diffrop-studies {package_versions()['diffrop-studies']}")
        parser.exit()


def command_parser(
    command: str, description: str | None = None, usage: str | None = "%(prog)s [options]"
) -> argparse.ArgumentParser:
    """Return a parser of --help, --version and --debug.

    Args:
        command: what is typed before the options, such as `diffrop sample`.
        description: what it does.
        usage: None is argparse's own.
    """
    parser = argparse.ArgumentParser(
        prog=command, description=description, formatter_class=Formatter, usage=usage
    )
    text = "show the version of the package and exit"
    parser.add_argument("--version", action=VersionAction, nargs=0, help=text)
    text = "show the trace of an error"
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=text)
    return parser


def add_options(
    container: argparse._ActionsContainer,
    *keys: str,
    settings: Mapping[str, Any] | None = None,
    **changes: Any,
) -> None:
    """Add options of the table to a parser or a group of one.

    Args:
        container: what they are added to.
        keys: of `OPTIONS`.
        settings: what the command itself changes of the recipe, as in `study_config`: defaults.
        changes: fields of `Option` that this command words otherwise.
    """
    for key in keys:
        option = dataclasses.replace(OPTIONS[key], **changes)
        default = option.default
        own = None if settings is None else settings.get(key.removeprefix("study."))
        if "default" not in changes and (default is None or own is not None):
            default = shown(own if own is not None else default_of(key))
        words = " ".join(part for part in (option.help, f"({default})" if default else "") if part)
        container.add_argument(
            *option.flags.split(),
            dest=key,
            default=argparse.SUPPRESS,
            help=words,
            **parsing(option, key),
        )


def parsing(option: Option, key: str) -> dict[str, Any]:
    """Return how argparse reads an option: by the table, else by the type of the field."""
    hint = field_type(key)
    kind, metavar = option.parse, option.metavar
    if hint is bool:
        return {"action": "store_true"}
    choices = option.choices or (
        typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else None
    )
    if kind is None and typing.get_origin(hint) is tuple:
        kind = numbers if float in _alternatives(typing.get_args(hint)[0]) else names
    if hint in (int, float):
        kind = kind or (whole if hint is int else number)
        metavar = metavar or ("N" if hint is int else "X")
    own: dict[str, Any] = {"nargs": option.nargs, "const": option.const}
    found = {"type": kind, "choices": choices, "metavar": metavar, **own}
    action = {"action": "append"} if option.repeated else {}
    return {name: value for name, value in found.items() if value is not None} | action


def field_type(key: str) -> Any:
    """Return the type of a key's field, without None; str for what is no field."""
    owner, dot, name = key.partition(".")
    if not dot:
        return str
    hint = typing.get_type_hints(OWNERS[owner])[name]
    kinds = [kind for kind in _alternatives(hint) if kind is not type(None)]
    return kinds[0] if len(kinds) == 1 else hint


def _alternatives(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    return typing.get_args(hint) if union else (hint,)


@functools.cache
def _recipes() -> tuple[Recipe, ...]:
    return tuple(make() for make in RECIPES.values())


def default_of(key: str) -> Any:
    """Return the default of a key's field, `BY_RECIPE` where the recipes differ in it."""
    owner, _, name = key.partition(".")
    of_recipe = {item.name for item in dataclasses.fields(Recipe)}
    if owner in PARTS:
        values = [getattr(getattr(each.experiment, owner), name) for each in _recipes()]
    elif owner in ("study", "launch") and name in of_recipe:
        values = [getattr(each, name) for each in _recipes()]
    elif owner in OWNERS:
        items = {item.name: item for item in dataclasses.fields(OWNERS[owner])}  # type: ignore[arg-type]
        values = [items[name].default]
    else:
        values = [None]
    return values[0] if all(value == values[0] for value in values) else BY_RECIPE


def shown(value: Any) -> str:
    """Return a default as --help shows it; nothing for none, and for what is no plain value."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        whole = isinstance(value, int)
        return "" if isinstance(value, bool) else f"{value:,}" if whole else f"{value:g}"
    parts = [shown(item) for item in value] if isinstance(value, list | tuple) else []
    return ",".join(parts) if all(parts) else ""


def add_trust(container: argparse._ActionsContainer) -> None:
    """Add --trust-code, for commands that read a configuration from a file."""
    words = "call an extractor of one's own that the file names (else --extractor has to name it)"
    container.add_argument("--trust-code", action="store_true", help=words)


def study_parser(
    command: str, description: str | None = None, settings: Mapping[str, Any] | None = None
) -> argparse.ArgumentParser:
    """Return the parser of a study's command; `settings` as in `study_config`."""
    parser = command_parser(command, description)
    study = parser.add_argument_group("the study")
    add_options(study, "study.name", "launch.resume")
    study.add_argument("--dry-run", action="store_true", help="print plan and cost, start nothing")
    add_options(study, *STUDY_OPTIONS, settings=settings)
    view = parser.add_argument_group("on the screen").add_mutually_exclusive_group()
    view.add_argument("--quiet", action="store_true", help="nothing before the results")
    view.add_argument("--json", action="store_true", help="JSON lines, the results last")
    groups = {
        "the search": SEARCH_OPTIONS,
        "budget and confirmation": BUDGET_OPTIONS,
        **TRAINING_GROUPS,
    }
    for heading, keys in groups.items():
        add_options(parser.add_argument_group(heading), *keys, settings=settings)
    return parser
