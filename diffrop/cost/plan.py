"""What a study would do and cost, reckoned from a short measurement."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from diffrop.config import ExperimentConfig
from diffrop.cost.budget import units_per_trial
from diffrop.cost.probe import Probe
from diffrop.execution.placement import Node, placement_sentence, trials_at_once
from diffrop.scoring.sampling_search import plan_rounds, samples_at_most
from diffrop.search.expected_survivors import expected_survivors
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.study.rung import Rung
from diffrop.study.sampling_choice import sampling_choices
from diffrop.training.fork import parse_fork


@dataclass(frozen=True, kw_only=True)
class RungPlan:
    """All trials between one rung and the next; sums over them."""

    images: int
    num_samples: int
    num_steps: int | None
    trials: float
    """Expected number of trials that reach it."""
    training_s: float
    scoring_s: float
    samples: int
    trained: int
    """Images seen in training."""


@dataclass(frozen=True, kw_only=True)
class ConfirmPlan:
    """The trainings with fresh seeds; near-ties are not reckoned with."""

    trials: int
    training_s: float
    scoring_s: float
    samples: int
    trained: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study is expected to take, the start-up of the trials left out."""

    rungs: tuple[RungPlan, ...]
    confirm: ConfirmPlan | None
    prefix: RungPlan | None
    """What lies before a fork, trained once."""
    prefix_saved: int
    """Images that need not be trained, because the trials share what lies before their fork."""
    units: float
    """GPUs of a trial, or workers without GPUs."""
    on_gpu: bool
    at_once: int
    """Trials at a time; 0 if none can be placed."""
    placement: str
    checkpoints: int
    """Kept at the end."""
    checkpoints_most: int
    """While it runs."""
    probe: Probe
    price_per_gpu_hour: float | None
    budget_hours: float | None
    budget_wall_s: float | None

    @property
    def parts(self) -> tuple[RungPlan | ConfirmPlan, ...]:
        """All that costs something."""
        return tuple(part for part in (self.prefix, *self.rungs, self.confirm) if part)

    @property
    def seconds(self) -> float:
        """Of all trials, one after the other."""
        return sum(part.training_s + part.scoring_s for part in self.parts)

    @property
    def hours(self) -> float:
        """Of GPUs, or of workers without GPUs."""
        return self.seconds * self.units / 3600

    @property
    def wall_s(self) -> float:
        """On the clock, if trials never wait for one another."""
        return self.seconds / max(1, self.at_once)

    @property
    def cost(self) -> float | None:
        """At the price of an hour, which on a machine without GPUs is that of a worker."""
        price = self.price_per_gpu_hour
        return None if price is None else price * self.hours

    def to_dict(self) -> dict[str, Any]:
        """Return what plan.json holds."""
        return {
            "rungs": [asdict(rung) for rung in self.rungs],
            "prefix": asdict(self.prefix) if self.prefix else None,
            "prefix_saved_images": self.prefix_saved,
            "confirm": asdict(self.confirm) if self.confirm else None,
            "trials": self.rungs[0].trials,
            "gpu_hours": self.hours if self.on_gpu else 0.0,
            "worker_hours": self.hours if not self.on_gpu else None,
            "wall_s": self.wall_s,
            "samples": sum(part.samples for part in self.parts),
            "images": sum(part.trained for part in self.parts),
            "memory_mib": self.probe.memory_mib,
            "disk_mib": self.checkpoints * self.probe.checkpoint_mib,
            "cost": self.cost,
            "price_per_gpu_hour": self.price_per_gpu_hour,
            "budget_hours": self.budget_hours,
            "budget_wall_s": self.budget_wall_s,
            "units": self.units,
            "at_once": self.at_once,
            "placement": self.placement,
            "probe": self.probe.to_dict(),
        }


def make_plan(
    config: StudyConfig,
    launch: LaunchConfig,
    num_classes: int,
    probe: Probe,
    nodes: Sequence[Node],
) -> Plan:
    """Reckon what a study takes.

    Args:
        config: the study.
        launch: workers, confirmation, price.
        num_classes: of the data, which bounds the first round of the omega search.
        probe: speeds of one worker. Several are taken to be as many times as fast.
        nodes: what each node of the cluster has.
    """
    fork_images, own_prefix = fork_start(config)
    reach = expected_survivors(config)
    rungs, before = [], fork_images
    for rung, trials in zip(config.rungs, reach, strict=True):
        images = rung.images - before
        samples, scoring = _scoring(config.experiment, rung, num_classes, probe)
        rungs.append(
            RungPlan(
                images=rung.images,
                num_samples=rung.num_samples,
                num_steps=rung.num_steps,
                trials=trials,
                trained=round(trials * images),
                samples=round(trials * samples),
                training_s=trials * _training_s(images, launch, probe),
                scoring_s=trials * scoring / launch.workers_per_trial,
            )
        )
        before = rung.images
    prefix = _prefix(fork_images, launch, probe) if own_prefix else None
    fitting = trials_at_once(nodes, launch)
    limit = launch.max_concurrent or max(1, config.num_trials // 2)
    confirmed = _confirm(config, launch, probe, fork_images if own_prefix else 0, fork_images)
    files, files_at_most = _checkpoints(config, launch, reach)
    return Plan(
        rungs=tuple(rungs),
        confirm=confirmed,
        prefix=prefix,
        prefix_saved=(config.num_trials - 1) * fork_images if own_prefix else 0,
        units=units_per_trial(launch),
        on_gpu=launch.gpus_per_worker > 0,
        at_once=min(fitting, limit),
        placement=placement_sentence(nodes, launch),
        checkpoints=files,
        checkpoints_most=files_at_most,
        probe=probe,
        price_per_gpu_hour=launch.price_per_gpu_hour,
        budget_hours=launch.budget_gpu_hours,
        budget_wall_s=launch.budget_wall_s,
    )


def _training_s(images: int, launch: LaunchConfig, probe: Probe) -> float:
    return images / probe.train_images_per_s / launch.workers_per_trial


def _prefix(images: int, launch: LaunchConfig, probe: Probe) -> RungPlan:
    seconds = _training_s(images, launch, probe)
    return RungPlan(
        images=images,
        num_samples=0,
        num_steps=None,
        trials=1,
        training_s=seconds,
        scoring_s=0.0,
        samples=0,
        trained=images,
    )


def _checkpoints(
    config: StudyConfig, launch: LaunchConfig, reach: Sequence[float]
) -> tuple[int, int]:
    """Return how many checkpoints are kept at the end, and at most while the study runs.

    Every rung's is kept for its scores, and the newest few of a trial beside them.
    """
    newest = config.experiment.training.keep_checkpoints - 1
    confirmed = launch.confirm and (launch.confirm + 1) * launch.confirm_seeds * (1 + newest)
    at_most = round(sum(reach)) + newest * config.num_trials + confirmed
    if launch.keep_trials is None:
        return at_most, at_most
    leaders = min(config.num_trials, launch.keep_trials + 1)
    return leaders * (len(reach) + newest) + confirmed, at_most


def _confirm(
    config: StudyConfig, launch: LaunchConfig, probe: Probe, prefix: int, start: int
) -> ConfirmPlan | None:
    """Reckon the confirmation: one sampling choice, the prefix once for each seed."""
    if launch.confirm == 0:
        return None
    seeds, full = launch.confirm_seeds, config.rungs[-1]
    trials = (launch.confirm + 1) * seeds
    trained = trials * (full.images - start) + seeds * prefix
    rate, _ = _rates(config.experiment, full)
    samples = trials * full.num_samples
    seconds = samples * (rate / probe.denoise_images_per_s + _feature_s(probe) + probe.metrics_s)
    return ConfirmPlan(
        trials=trials,
        training_s=_training_s(trained, launch, probe),
        scoring_s=seconds / launch.workers_per_trial,
        samples=samples,
        trained=trained,
    )


def _scoring(
    config: ExperimentConfig, rung: Rung, num_classes: int, probe: Probe
) -> tuple[int, float]:
    """Return the samples of one score, over all candidates, and a worker's seconds for them."""
    rate, candidates = _rates(config, rung)
    rounds = plan_rounds(config.evaluation.omega_search, candidates, rung.num_samples, num_classes)
    samples = samples_at_most(rounds, candidates)
    seconds = samples * (rate / probe.denoise_images_per_s + _feature_s(probe))
    if rung.final:
        seconds += rung.num_samples * probe.metrics_s
    reports = candidates + sum(current.num_kept for current in rounds[:-1])
    return samples, seconds + reports * probe.fid_s


def fork_start(config: StudyConfig) -> tuple[int, bool]:
    """Return the images at which trials begin, and whether the study trains them itself."""
    if config.fork_from is None:
        return 0, False
    fork = parse_fork(config.fork_from, config.experiment.training.batch_size)
    return fork.images, fork.path is None


def _rates(config: ExperimentConfig, rung: Rung) -> tuple[float, int]:
    """Return the denoising evaluations of a sample, in the mean over candidates, and their number.

    Guidance takes two evaluations a step.
    """
    choices = sampling_choices(config, rung.num_steps)
    taken = [choice.sampling.num_steps * (2 if choice.omega else 1) for choice in choices]
    return sum(taken) / len(taken), len(choices)


def _feature_s(probe: Probe) -> float:
    return 1 / probe.feature_images_per_s if probe.feature_images_per_s else 0.0
