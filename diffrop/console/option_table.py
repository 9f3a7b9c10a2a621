"""One table of options: each field of a configuration with its flag, its parser and its help."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from diffrop.config import DataConfig, Objective
from diffrop.console.typed import (
    absolute,
    folder,
    fork_source,
    imbalance_factor,
    intervals,
    local_path,
    numbers_or_none,
    seconds,
    setting,
    webhook_url,
)
from diffrop.metrics.extractors import EXTRACTORS
from diffrop.presets import PRESETS
from diffrop.recipes import RECIPES
from diffrop.study.stopping_rules import STOPPING_RULES

BY_RECIPE = "by the dataset's recipe"


@dataclass(frozen=True)
class Option:
    """How a field is given on the command line; its type and default stand in its dataclass."""

    flags: str
    """One or several, with spaces between them."""
    help: str
    """Without the default, which is added."""
    metavar: str | None = None
    """None takes N for a whole number, X for another, and the choices where there are some."""
    parse: Callable[[str], Any] | None = None
    """None takes what suits the field's type."""
    choices: Sequence[str] | None = None
    """None takes those of the field's type."""
    default: str | None = None
    """The default in words, where its value does not say it; None takes the value."""
    nargs: str | None = None
    const: float | None = None
    """What the flag alone stands for, with nargs "?"."""
    repeated: bool = False
    """Each use adds one value to a list."""


OPTIONS = {
    # What a study is: fields of StudyConfig.
    "study.name": Option(
        "--study-name", "its folder in runs/", "NAME", default="from kind and time"
    ),
    "study.num_trials": Option(
        "--trials --budget-trials", "trials, the baseline included; may be raised with --resume"
    ),
    "study.space": Option("--space", "search space (YAML)", "FILE", local_path, default=""),
    "study.seed": Option("--seed", "of the search"),
    "study.sampler": Option("--sampler", "what suggests the points"),
    "study.scheduler": Option(
        "--scheduler", "what stops trials at a rung", choices=tuple(STOPPING_RULES)
    ),
    "study.first_rung_images": Option(
        "--first-rung", "images after which a trial may be stopped", "IMAGES"
    ),
    "study.rung_samples": Option("--rung-samples", "images of a score at the first rung"),
    "study.rung_steps": Option(
        "--rung-steps", "denoising steps there, at most", default="the full number"
    ),
    "study.reduction_factor": Option(
        "--reduction-factor",
        "the rungs lie so many times apart, and one trial in so many goes on",
    ),
    "study.audit_fraction": Option(
        "--audit-fraction",
        "share of the trials to be stopped that run on, to tell whether stopping was right",
    ),
    "study.fork_from": Option(
        "--fork-from",
        "baseline@IMAGES, or a checkpoint: every trial starts there, and what lies before is "
        "trained once",
        "WHERE",
        fork_source,
    ),
    "study.points": Option(
        "--points",
        "points to try first (YAML, a list of {key: value})",
        "FILE",
        local_path,
        default="",
    ),
    "study.warm_start": Option(
        "--warm-start", "earlier studies to learn from", "STUDY", parse=str, nargs="+"
    ),
    # How it runs this time: fields of LaunchConfig; and --notify, which no configuration holds.
    "launch.resume": Option("--resume", "carry on with the study of that name"),
    "launch.runs_root": Option("--runs-root", "folder of all studies", "DIR", folder),
    "launch.storage": Option(
        "--storage", "Optuna's, such as postgresql://...", "URL", default="SQLite"
    ),
    "launch.storage_path": Option(
        "--storage-path",
        "remote copy of the runs folder, such as s3://bucket/runs, for nodes that share no disk",
        "URI",
    ),
    "launch.workers_per_trial": Option(
        "--workers-per-trial", "workers that train one trial; several run under Ray Train"
    ),
    "launch.cpus_per_worker": Option("--cpus-per-worker", "CPUs of a worker"),
    "launch.gpus_per_worker": Option(
        "--gpus-per-worker",
        "GPUs of a worker, fractions allowed",
        default="1 if there is one, else 0",
    ),
    "launch.ray_address": Option(
        "--ray-address",
        "a running cluster",
        "ADDRESS",
        default="local: one of its own on this machine",
    ),
    "launch.max_failures": Option("--max-failures", "restarts of a trial"),
    "launch.worker_timeout_s": Option(
        "--worker-timeout", "a worker group silent for so many seconds is restarted", "S"
    ),
    "launch.outage_wait_s": Option(
        "--outage-wait",
        "the database, or room on a disk, may be away for so many seconds before trials save and "
        "stop",
        "S",
    ),
    "launch.tracking_uri": Option(
        "--tracking-uri",
        "MLflow's",
        "URI",
        default="MLFLOW_TRACKING_URI, else SQLite in the runs folder",
    ),
    "notify": Option(
        "--notify",
        "send messages there: Slack, Discord, ntfy, or what takes JSON with a `text`",
        "URL",
        webhook_url,
        default="DIFFROP_NOTIFY, else none",
    ),
    "launch.max_concurrent": Option(
        "--max-concurrent",
        "trials at a time",
        default="as many as fit, at most half of the study",
    ),
    "launch.confirm": Option(
        "--confirm",
        "train the K leaders and the baseline again with fresh seeds before a best is named",
        "K",
    ),
    "launch.confirm_seeds": Option(
        "--seeds", "fresh seeds of a confirmation; near-ties get more", "S"
    ),
    "launch.budget_gpu_hours": Option(
        "--budget-gpu-hours",
        "no trial begins after so many hours of GPUs (of workers, without GPUs)",
        "H",
    ),
    "launch.budget_wall_s": Option(
        "--budget-wall",
        "no trial begins after so long, such as 90s, 30m or 12h",
        "TIME",
        seconds,
    ),
    "launch.price_per_gpu_hour": Option("--price-per-gpu-hour", "for the cost of plan and report"),
    "launch.keep_trials": Option(
        "--keep", "leaders whose checkpoints are kept, beside the baseline's", default="all"
    ),
    # What is trained and how it is scored: fields of ExperimentConfig's parts.
    "data.dataset": Option(
        "--dataset",
        f"{', '.join(RECIPES)}",
        "NAME",
        choices=tuple(RECIPES),
        default=DataConfig().dataset,
    ),
    "data.root": Option(
        "--data-root",
        "image_folder: holds a folder for each class; else torchvision's folder",
        "DIR",
        absolute,
    ),
    "data.imbalance_factor": Option(
        "--imbalance-factor",
        "rarest over most frequent class, or `own` for the data's own counts",
        parse=imbalance_factor,
    ),
    "data.image_size": Option("--image-size", "for image_folder", "PIXELS", default="32"),
    "data.reference": Option(
        "--reference",
        "real images that samples are scored against: the full training set, or the test split",
    ),
    "data.reference_root": Option(
        "--reference-root", "or a folder of one's own, as for --data-root", "DIR", absolute
    ),
    "data.skip_damaged": Option(
        "--skip-damaged", "leave out images of these folders that cannot be read"
    ),
    "augmentation.diffaug": Option(
        "--diffaug", "augment by any of color, translation, cutout", "X,X,..."
    ),
    "objective.loss": Option(
        "--objective-loss", "what the contrastive loss is added to: ddpm or cbdm", "NAME"
    ),
    "training.num_images": Option("--images", "images seen in a full training"),
    "training.batch_size": Option("--batch-size", "global, over all workers"),
    "training.seed": Option("--seed", "of the training"),
    "training.init_from": Option(
        "--init-from", "start from a checkpoint's weights (fine-tuning)", "FILE", absolute
    ),
    "evaluation.num_samples": Option("--num-samples", "images of the final score"),
    "evaluation.guidance_scales": Option("--omegas", "guidance scales to choose from", "X,X,..."),
    "evaluation.samplers": Option(
        "--samplers",
        "samplers to choose from, such as ddim-8,dpmpp-8,heun-5,ancestral-unclipped",
        "NAME,...",
    ),
    "evaluation.ema_lengths": Option(
        "--ema-lengths",
        "averages of the weights to choose from, of training.ema_lengths or their snapshots; none "
        "is the exponential one",
        "X,X,...",
        numbers_or_none,
    ),
    "evaluation.guidance_intervals": Option(
        "--guidance-intervals",
        "where omega applies, to choose from: shares of T such as 0-1,0.2-0.7",
        "LOW-HIGH,...",
        intervals,
        default="0-1",
    ),
    "evaluation.guides": Option(
        "--guides",
        "what omega guides with, to choose from: the same training at shares of it, such as "
        "none,0.25; none is the null label",
        "SHARE,...",
        numbers_or_none,
        default="none",
    ),
    "evaluation.omega_search": Option(
        "--omega-search",
        "how these are chosen: halving with growing samples, or each at the full number",
    ),
    "evaluation.prefer_cheap": Option(
        "--prefer-cheap",
        "take the cheapest sampling whose objective is surely within this share of the best's; "
        "0.02 without a number",
        "SHARE",
        default="the best at any cost",
        nargs="?",
        const=0.02,
    ),
    "evaluation.objectives": Option(
        "--objective",
        f"{', '.join(get_args(Objective))}; several make a Pareto front",
        "SCORE,...",
    ),
    "evaluation.constraints": Option(
        "--constraint",
        "such as 'fid/many <= baseline + 5%%'; may be repeated",
        "RULE",
        parse=str,
        repeated=True,
    ),
    "evaluation.extractor": Option(
        "--extractor",
        f"of the features: {', '.join(EXTRACTORS)}, or package.module:factory",
        "NAME",
    ),
    "evaluation.extractor_weights": Option(
        "--extractor-weights",
        "its weights, or URL#sha256=HEX",
        "FILE",
        absolute,
        default="as published",
    ),
    "evaluation.seed": Option("--seed", "of the noise"),
    # Of the baselines: fields of GanConfig and ClassifierConfig.
    "gan.model": Option("--model", "which GAN"),
    "gan.num_images": Option("--images", "real images seen", default="by model and dataset"),
    "gan.seed": Option("--seed", "of the training"),
    "classifier.num_images": Option("--images", "seen by each classifier", default=BY_RECIPE),
    "classifier.seed": Option("--seed", "of training and samples"),
    # Of no field of its own.
    "preset": Option(
        "--preset", f"a method of the paper: {', '.join(PRESETS)}", "NAME", choices=tuple(PRESETS)
    ),
    "settings": Option(
        "--set",
        "any other key of the configuration, such as training.learning_rate=1e-4; may be repeated",
        "KEY=VALUE",
        setting,
        repeated=True,
    ),
}
"""By dotted key: the field of an experiment's part, or of the configuration that the first word
names (study, launch, gan, classifier)."""
