"""The plan of a study on the terminal, and beside it, afterwards, what the study did cost."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from diffrop.activity import time_text
from diffrop.console.tables import Column, fitted_table
from diffrop.console.terminal import TABLE_WIDTH
from diffrop.cost.actual import comparison
from diffrop.cost.plan import make_plan
from diffrop.cost.probe import DRY_RUN_LIMIT_S, measure_speeds, stand_ins
from diffrop.data import Dataset
from diffrop.execution import cluster
from diffrop.execution.placement import Node
from diffrop.record.cost import PlannedCost, Probe, RungCost, StudyCost
from diffrop.scoring.data_summary import data_lines
from diffrop.search.sampler_view import num_startup_trials
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.study.sampling_choice import sampling_choices

PLAN_COLUMNS = {
    "images": 9,
    "trials": 5,
    "N": 4,
    "steps": 1,
    "training": 7,
    "scoring": 6,
    "samples": 2,
    "hours": 8,
}
"""Headings of the plan by their importance: the least goes first where there is no room."""
LONG_S = 60.0
"""Of a measurement that has to say why it took so long."""


@dataclass(frozen=True)
class Measured:
    """How fast this machine is."""

    probe: Probe
    seconds: float
    """That it took to measure."""


def measure(
    config: StudyConfig, launch: LaunchConfig, dataset: Dataset, runs_root: Path
) -> Measured:
    """Measure how fast this machine does what the study would do; nothing is written.

    Args:
        config: the study.
        launch: the CPUs of a worker.
        dataset: of the study.
        runs_root: folder of all studies, in whose cache weights may lie.

    Raises:
        ValueError: weights or packages of the extractor are missing.
    """
    on_gpu = launch.gpus_per_worker > 0 and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    began = time.monotonic()
    made = stand_ins(config.experiment, dataset, runs_root / ".cache")
    extractor, reference = made or (None, None)
    probe = measure_speeds(
        config.experiment,
        dataset,
        extractor,
        device,
        reference=reference,
        cpus=launch.cpus_per_worker,
        limit_s=DRY_RUN_LIMIT_S,
    )
    return Measured(probe, time.monotonic() - began)


def print_plan(
    measured: Measured,
    config: StudyConfig,
    launch: LaunchConfig,
    dataset: Dataset,
    path: Path,
    console: Console,
) -> None:
    """Print what the study would do, from top to bottom; nothing is written.

    Raises:
        ResourceError: the cluster at `ray_address` cannot be reached, or is too small in all.
    """
    plan = make_plan(config, launch, dataset.num_classes, measured.probe, nodes_of(launch))
    for line in head_lines(config, dataset, path):
        console.print(line, soft_wrap=line.startswith("Study "))
    console.print(plan_table(plan, console.width))
    for line in plan_lines(plan, config, launch):
        console.print(line)
    if measured.seconds > LONG_S:
        console.print(
            f"Measuring took {duration_text(measured.seconds)}: a training step, a denoising "
            "evaluation, features and all metrics are timed once at least, however slow this "
            "machine is."
        )
    console.print("Dry run: nothing was started or written.")


def nodes_of(launch: LaunchConfig) -> list[Node]:
    """Return what each node has: this machine, or those of the cluster that is to be joined.

    Raises:
        ResourceError: it cannot be reached, or is too small in all.
    """
    if launch.ray_address == "local":
        cpus, gpus = cluster.local_resources()
        return [{"CPU": cpus, "GPU": gpus}]
    with cluster.connect(launch):
        return list(cluster.nodes())


def head_lines(config: StudyConfig, dataset: Dataset, path: Path) -> list[str]:
    """Return what is studied: data, scores, how it is searched."""
    experiment = config.experiment
    evaluation = experiment.evaluation
    samplers = dict.fromkeys(choice.sampler for choice in sampling_choices(experiment))
    omegas = ", ".join(f"{omega:g}" for omega in evaluation.guidance_scales)
    kept = "".join(f"; {constraint}" for constraint in evaluation.constraints)
    lines = [
        f"Study {config.name} in {path}",
        *data_lines(dataset),
        f"Scores: {evaluation.extractor}, {', '.join(samplers)}, omega {omegas} by "
        f"{evaluation.omega_search}; objective {', '.join(evaluation.objectives)}{kept}.",
        *average_lines(config),
        f"Search: {config.num_trials} trials by {config.sampler}, the baseline among them; "
        f"scheduler {config.scheduler}.",
    ]
    if config.points:
        lines.append(f"{len(config.points)} fixed point(s) come first.")
    if config.warm_start:
        lines.append(f"Earlier studies: {', '.join(config.warm_start)}.")
    if config.fork_from is not None:
        lines.append(f"Every trial forks from {config.fork_from}.")
    return lines


def average_lines(config: StudyConfig) -> list[str]:
    """Return how well averages that trainings do not keep will be reconstructed, if any is."""
    errors = ", ".join(
        f"{length:g} ({error:.1%})" for length, error in config.average_errors.items()
    )
    words = "Averages reconstructed from snapshots, with their relative errors at most"
    return [f"{words}: {errors}."] if errors else []


def plan_table(plan: PlannedCost, width: int = TABLE_WIDTH) -> Table:
    """Return the plan by rung; training and scoring are of one trial, hours of all.

    Args:
        plan: of the study.
        width: columns of characters that there are; columns give way where they do not fit.
    """
    rows = []
    for part in plan.parts:
        seconds = part.training_s + part.scoring_s
        if isinstance(part, RungCost):
            name, scored = f"{part.images:,}", f"{part.num_samples:,}"
            steps = f"{part.num_steps:,}" if part.num_steps else "full"
        elif part is plan.prefix:
            name, scored, steps = f"to {part.trained:,}", "-", "-"
        else:
            name, scored, steps = "confirmation", f"{plan.rungs[-1].num_samples:,}", "full"
        each = [duration_text(total / part.trials) for total in (part.training_s, part.scoring_s)]
        spent = f"{seconds * plan.units / 3600:,.3g}"
        rows.append((name, f"{part.trials:.3g}", scored, steps, *each, f"{part.samples:,}", spent))
    samples = sum(part.samples for part in plan.parts)
    rows.append(("in all", *[""] * 5, f"{samples:,}", f"{plan.hours:,.3g}"))
    columns = [
        Column(heading, list(cells), importance, is_text=heading == "images")
        for (heading, importance), cells in zip(
            PLAN_COLUMNS.items(), zip(*rows, strict=True), strict=True
        )
    ]
    unit = "GPU-hours" if plan.on_gpu else "worker-hours"
    columns[-1] = dataclasses.replace(columns[-1], heading=unit)
    table, _ = fitted_table(columns, width)
    table.rows[-1].style = "bold"
    return table


def plan_lines(plan: PlannedCost, config: StudyConfig, launch: LaunchConfig) -> list[str]:
    """Return what the table leaves open: time, money, memory, disk, room."""
    unit = "GPU" if plan.on_gpu else "worker"
    probe = plan.probe
    at_once = max(1, plan.at_once)
    cost = (
        ""
        if plan.cost is None
        else (f", {plan.cost:,.2f} at {plan.price_per_gpu_hour:g} for the hour of a {unit}")
    )
    left_out = "" if probe.feature_images_per_s else ", features and metrics"
    lines = [
        f"Cost: about {plan.hours:,.3g} {unit}-hours{cost}; {duration_text(plan.wall_s)} on the "
        f"clock with {at_once} trial(s) at a time, beside start-up{left_out}.",
        plan.placement,
    ]
    startup = num_startup_trials(config.num_trials, at_once) + at_once - 1
    if config.sampler == "tpe":
        lines.append(f"At most {startup} trials come without the model, the baseline among them.")
    if plan.prefix_saved:
        lines.append(
            f"The fork saves {plan.prefix_saved:,} images of training: what lies before it is "
            "trained once."
        )
    if launch.confirm:
        lines.append(
            f"Confirmation: {launch.confirm} leader(s) and the baseline with "
            f"{launch.confirm_seeds} fresh seeds each; near-ties get more only within a budget."
        )
    size = probe.checkpoint_mib
    more = ""
    if plan.checkpoints_at_most > plan.checkpoints:
        more = f", {plan.checkpoints_at_most * size:,.0f} MiB while it runs"
    averages = ""
    if plan.snapshots_at_most:
        snapshot = probe.snapshot_mib
        averages = f"; {plan.snapshots * snapshot:,.0f} MiB of averages ({snapshot:,.1f} MiB each)"
        if plan.snapshots_at_most > plan.snapshots:
            averages += f", {plan.snapshots_at_most * snapshot:,.0f} MiB while it runs"
    lines.append(
        f"Disk: about {plan.checkpoints * size:,.0f} MiB of checkpoints ({size:,.1f} MiB "
        f"each){more}{averages}. Memory: {probe.memory_mib:,.0f} MiB a worker"
        f"{' of its GPU' if probe.device == 'cuda' else ', beside Python and the images'}."
    )
    features = (
        f"{probe.feature_images_per_s:,.0f} images/s in features"
        if probe.feature_images_per_s
        else "features and metrics not measured (that takes a download), and not counted"
    )
    lines.append(
        f"Measured on this machine ({probe.device}) over {probe.num_steps} step(s): "
        f"{probe.train_images_per_s:,.0f} images/s in training, "
        f"{probe.denoise_images_per_s:,.0f} denoising evaluations/s, {features}."
    )
    return lines


def comparison_table(plan: PlannedCost, actual: StudyCost, width: int = TABLE_WIDTH) -> Table:
    """Return planned and actual cost side by side; the plan gives way where both do not fit."""
    names, planned, done = map(list, zip(*comparison(plan, actual), strict=True))
    columns = [
        Column("", names, 3, is_text=True),
        Column("planned", planned, 1),
        Column("actual", done, 2),
    ]
    return fitted_table(columns, width)[0]


def duration_text(seconds: float) -> str:
    """Return a length of time in the unit that suits it."""
    return f"{seconds:.2g} s" if 0 < seconds < 10 else time_text(seconds)
