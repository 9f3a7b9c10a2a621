"""The options of studies and trainings that say how they search and where they run."""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from diffrop.config import ExperimentConfig
from diffrop.console.options import (
    Formatter,
    add_data_options,
    add_trial_options,
    choices_of,
    chosen_recipe,
    preset_help,
    with_options,
)
from diffrop.presets import PRESETS
from diffrop.study.config import LaunchConfig, Sampler, Scheduler, StudyConfig
from diffrop.study.space import SearchSpace, load_points


def add_launch_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of LaunchConfig."""
    group = parser.add_argument_group("where it runs")
    add = group.add_argument
    add("--runs-root", metavar="DIR", default="runs", help="folder of all studies (runs)")
    add(
        "--workers-per-trial",
        type=int,
        metavar="N",
        default=1,
        help="workers that train one trial; several run under Ray Train (1)",
    )
    add("--cpus-per-worker", type=int, metavar="N", default=1, help="CPUs of a worker (1)")
    add(
        "--gpus-per-worker",
        type=float,
        metavar="X",
        help="GPUs of a worker, fractions allowed (1 if there is one, else 0)",
    )
    add(
        "--ray-address",
        metavar="ADDRESS",
        default="local",
        help="a running cluster; by default one of its own on this machine",
    )
    add("--max-failures", type=int, metavar="N", default=2, help="restarts of a trial (2)")
    add(
        "--worker-timeout",
        type=int,
        metavar="S",
        default=600,
        dest="worker_timeout_s",
        help="a worker group silent for so many seconds is restarted (600)",
    )
    add(
        "--tracking-uri",
        metavar="URI",
        help="MLflow's (MLFLOW_TRACKING_URI, else SQLite in the runs folder)",
    )


def study_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of a study's command."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=Formatter, usage="%(prog)s [options]"
    )
    study = parser.add_argument_group("the study").add_argument
    study("--study-name", metavar="NAME", help="its folder in runs/ (from script and time)")
    study("--resume", action="store_true", help="carry on with the study of that name")
    study("--dry-run", action="store_true", help="print plan and cost, start nothing")
    study(
        "--trials",
        "--budget-trials",
        type=int,
        metavar="N",
        dest="num_trials",
        help="trials, the baseline included; may be raised with --resume",
    )
    study("--space", type=Path, metavar="FILE", help="search space (YAML)")
    study("--seed", type=int, metavar="N", help="of the search (0)")
    study("--preset", choices=tuple(PRESETS), metavar="NAME", help=preset_help())
    study("--storage", metavar="URL", help="Optuna's, such as postgresql://... (SQLite)")
    study(
        "--storage-path",
        metavar="URI",
        help="remote copy of the runs folder, such as "
        "s3://bucket/runs, for nodes that share no disk",
    )
    view = parser.add_argument_group("on the screen").add_mutually_exclusive_group()
    view.add_argument("--quiet", action="store_true", help="nothing before the results")
    view.add_argument("--json", action="store_true", help="JSON lines, the results last")
    add_search_options(parser)
    add_budget_options(parser)
    add_data_options(parser)
    add_trial_options(parser)
    add_launch_options(parser)
    return parser


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of how the study searches, stops, forks and starts."""
    add = parser.add_argument_group("the search").add_argument
    add("--sampler", choices=choices_of(Sampler), help="what suggests the points (tpe)")
    add("--scheduler", choices=choices_of(Scheduler), help="what stops trials at a rung (median)")
    add(
        "--first-rung",
        type=int,
        metavar="IMAGES",
        dest="first_rung_images",
        help="images after which a trial may be stopped",
    )
    add("--rung-samples", type=int, metavar="N", help="images of a score at the first rung")
    add("--rung-steps", type=int, metavar="N", help="denoising steps there (the full number)")
    add(
        "--reduction-factor",
        type=float,
        metavar="X",
        help="the rungs lie so many times apart, and one trial in so many goes on (2)",
    )
    add(
        "--audit-fraction",
        type=float,
        metavar="X",
        help="share of the trials to be stopped "
        "that run on, to tell whether stopping was right (0)",
    )
    add(
        "--fork-from",
        metavar="WHERE",
        help="baseline@IMAGES, or a checkpoint: every trial "
        "starts there, and what lies before is trained once",
    )
    add(
        "--points",
        type=Path,
        metavar="FILE",
        help="points to try first (YAML, a list of {key: value})",
    )
    add("--warm-start", nargs="+", metavar="STUDY", help="earlier studies to learn from")
    add(
        "--constraint",
        action="append",
        metavar="RULE",
        dest="constraints",
        help="such as 'fid/many <= baseline + 5%%'; may be repeated",
    )
    add(
        "--max-concurrent",
        type=int,
        metavar="N",
        help="trials at a time (as many as fit, at most half of the study)",
    )


def add_budget_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of what a launch may spend, confirm and keep."""
    add = parser.add_argument_group("budget and confirmation").add_argument
    add(
        "--confirm",
        type=int,
        default=0,
        metavar="K",
        help="train the K leaders and the "
        "baseline again with fresh seeds before a best is named (0)",
    )
    add(
        "--seeds",
        type=int,
        default=3,
        metavar="S",
        dest="confirm_seeds",
        help="fresh seeds of a confirmation; near-ties get more (3)",
    )
    add(
        "--budget-gpu-hours",
        type=float,
        metavar="H",
        help="no trial begins after so many hours of GPUs (of workers, without GPUs)",
    )
    add(
        "--budget-wall",
        type=span,
        metavar="TIME",
        dest="budget_wall_s",
        help="no trial begins after so long, such as 90s, 30m or 12h",
    )
    add("--price-per-gpu-hour", type=float, metavar="X", help="for the cost of plan and report")
    add(
        "--keep",
        type=int,
        metavar="N",
        dest="keep_trials",
        help="leaders whose checkpoints are kept, beside the baseline's (all)",
    )


def span(text: str) -> float:
    """Parse a length of time as seconds: 90, 90s, 30m, 12h or 2d."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    unit = units.get(text[-1:], 0)
    try:
        return float(text[:-1]) * unit if unit else float(text)
    except ValueError as error:
        message = f"{text!r} is no length of time; allowed: such as 90s, 30m, 12h or 2d"
        raise argparse.ArgumentTypeError(message) from error


def study_config(
    args: argparse.Namespace,
    script: str,
    space: Path,
    on_gpu: bool,
    settings: Mapping[str, Any] | None = None,
) -> StudyConfig:
    """Build the study from parsed options.

    Args:
        args: of `study_parser`.
        script: name of the command, for the name of an unnamed study.
        space: search space, unless the options name another.
        on_gpu: whether trials run on GPUs.
        settings: what this kind of study changes of the recipe: fields of StudyConfig, and dotted
            keys of the experiment. Options come after them.

    Raises:
        ValueError: an option is not allowed, or --resume came without a name.
    """
    if args.resume and args.study_name is None:
        raise ValueError("--resume needs --study-name, the name of the study to carry on with")
    start = chosen_recipe(args, on_gpu)
    own = dict(settings or {})
    keys = {key: own.pop(key) for key in list(own) if "." in key}
    experiment = with_options(start.experiment.with_values(keys), args)
    chosen_space = SearchSpace.load(args.space or space)
    asked: dict[str, Any] = {
        "first_rung_images": first_rung(start.first_rung_images, experiment),
        "rung_samples": start.rung_samples,
        "num_trials": start.num_trials,
        **own,
    }
    for name in STUDY_OPTIONS:
        value = getattr(args, name)
        if value is not None:
            asked[name] = value
    if args.points is not None:
        asked["points"] = load_points(args.points, chosen_space)
    if args.fork_from is not None and "@" not in args.fork_from:
        asked["fork_from"] = str(Path(args.fork_from).resolve())
    return StudyConfig(
        name=args.study_name or f"{script}-{time.strftime('%Y%m%d-%H%M%S')}",
        space=chosen_space,
        experiment=experiment,
        **asked,
    )


STUDY_OPTIONS = (
    "num_trials",
    "seed",
    "scheduler",
    "sampler",
    "first_rung_images",
    "rung_samples",
    "rung_steps",
    "reduction_factor",
    "audit_fraction",
    "fork_from",
    "warm_start",
)
"""Options that are fields of StudyConfig by name."""


def first_rung(default: int, experiment: ExperimentConfig) -> int:
    """Return the recipe's first rung, or half of a shorter training."""
    return min(default, max(1, experiment.training.num_images // 2))


def launch_config(args: argparse.Namespace, tracking_uri: str | None) -> LaunchConfig:
    """Build the launch from parsed options; a GPU is used where there is one."""
    gpus = args.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if torch.cuda.is_available() else 0.0
    return LaunchConfig(
        runs_root=args.runs_root,
        ray_address=args.ray_address,
        workers_per_trial=args.workers_per_trial,
        cpus_per_worker=args.cpus_per_worker,
        gpus_per_worker=gpus,
        max_failures=args.max_failures,
        worker_timeout_s=args.worker_timeout_s,
        tracking_uri=args.tracking_uri or tracking_uri,
        resume=args.resume,
        **{name: getattr(args, name) for name in LAUNCH_OPTIONS if hasattr(args, name)},
    )


LAUNCH_OPTIONS = (
    "max_concurrent",
    "storage",
    "storage_path",
    "confirm",
    "confirm_seeds",
    "budget_gpu_hours",
    "budget_wall_s",
    "price_per_gpu_hour",
    "keep_trials",
)
"""Options of studies alone that are fields of LaunchConfig by name."""
