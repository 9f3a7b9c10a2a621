"""What a study would do and cost, from a short measurement on this machine."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from diffrop import cluster
from diffrop.config import ExperimentConfig
from diffrop.data import Dataset
from diffrop.diffusion.sampling import guided_noise, sampler_timesteps
from diffrop.search.config import LaunchConfig, Rung, StudyConfig
from diffrop.search.history import num_startup_trials
from diffrop.search.scoring import sampler_name
from diffrop.training.trainer import Trainer

PROBE_STEPS = 5


@dataclass(frozen=True)
class Probe:
    """Speeds of one worker on this machine, and the size of a checkpoint."""

    train_images_per_s: float
    denoise_images_per_s: float
    """Denoising evaluations a second; guidance takes two for each image and step."""
    checkpoint_mib: float


def probe(config: ExperimentConfig, dataset: Dataset, device: torch.device) -> Probe:
    """Time a few training steps and denoising evaluations."""
    trainer = Trainer(config, dataset, device)
    trainer.step()
    start = time.perf_counter()
    for _ in range(PROBE_STEPS):
        trainer.step()["loss/ddpm"].item()
    train = PROBE_STEPS * config.training.batch_size / (time.perf_counter() - start)
    count = min(config.sampling.batch_size, 128)
    x_t = torch.zeros(count, *dataset.image_shape, device=device)
    labels = torch.zeros(count, dtype=torch.int64, device=device)
    with torch.no_grad():
        start = time.perf_counter()
        for _ in range(2):
            args = (trainer.ema.model, x_t, labels, labels, 1.0, dataset.num_classes)
            guided_noise(*args).sum().item()
    denoise = 2 * 2 * count / (time.perf_counter() - start)
    tensors = trainer.checkpoint().tensors.values()
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return Probe(train, denoise, size / 2**20)


def scoring_seconds(config: ExperimentConfig, rung: Rung, speeds: Probe) -> float:
    """Return the time one worker needs for a rung's samples; features are not counted."""
    steps = len(sampler_timesteps(config.sampling, config.diffusion.num_timesteps))
    scales = config.evaluation.guidance_scales
    branches = sum(1 if omega == 0 else 2 for omega in scales)
    return rung.num_samples * steps * branches / speeds.denoise_images_per_s


def print_plan(
    config: StudyConfig, launch: LaunchConfig, dataset: Dataset, path: Path, console: Console
) -> None:
    """Print what the study would do, from top to bottom; nothing is started or written."""
    torch.set_num_threads(launch.cpus_per_worker)
    device = torch.device(
        "cuda" if launch.gpus_per_worker and torch.cuda.is_available() else "cpu"
    )
    experiment = config.experiment
    speeds = probe(experiment, dataset, device)
    counts = dataset.train.class_counts
    console.print(f"Study {config.name} in {path}", soft_wrap=True)
    console.print(
        f"Data: {dataset.name}, {sum(counts):,} images in {dataset.num_classes} classes "
        f"({max(counts):,} ... {min(counts):,}); reference {len(dataset.reference.labels):,} "
        f"images."
    )
    console.print(
        f"Scores: {experiment.evaluation.extractor}, {sampler_name(experiment)}, omega "
        f"{', '.join(f'{omega:g}' for omega in experiment.evaluation.guidance_scales)}; "
        f"objective {experiment.evaluation.objective}."
    )
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("rung at images", "N per omega", "trials", "training", "sampling"):
        table.add_column(heading, justify="right")
    trials, before, seconds = float(config.num_trials), 0, 0.0
    for rung in config.rungs:
        share = launch.workers_per_trial
        train = (rung.images - before) / speeds.train_images_per_s / share
        score = scoring_seconds(experiment, rung, speeds) / share
        count = math.ceil(trials)
        seconds += count * (train + score)
        table.add_row(
            f"{rung.images:,}", f"{rung.num_samples:,}", f"{count}", _span(train), _span(score)
        )
        trials, before = trials / config.reduction_factor, rung.images
    console.print(table)
    cpus, gpus = cluster.local_resources()
    need_cpus, need_gpus = cluster.resources_per_trial(launch)
    at_once = cluster.concurrency(launch, config.num_trials, cpus, gpus)
    startup = num_startup_trials(config.num_trials, at_once) + at_once - 1
    where = "here" if launch.ray_address == "local" else "if its nodes are like this machine"
    disk = speeds.checkpoint_mib * experiment.training.keep_checkpoints * config.num_trials
    console.print(
        f"A trial holds {need_cpus} CPU(s) and {need_gpus:g} GPU(s); {at_once} at a time {where}. "
        f"At most {startup} trials come without the model, the baseline among them."
    )
    console.print(
        f"Cost: about {_span(seconds)} of trial time, {_span(seconds / at_once)} on the clock, "
        f"beside start-up and features; about {disk:,.0f} MiB of checkpoints. Measured with "
        f"{speeds.train_images_per_s:,.0f} images/s in training and "
        f"{speeds.denoise_images_per_s:,.0f} denoising evaluations/s on this machine ({device})."
    )
    console.print("Dry run: nothing was started or written.")


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
