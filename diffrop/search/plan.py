"""What a study would do and cost, reckoned from a short measurement; and what it did cost."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from diffrop.config import ExperimentConfig
from diffrop.search.budget import scorings, stretches, training_folder, units_per_trial
from diffrop.search.config import LaunchConfig, Rung, Scheduler, StudyConfig
from diffrop.search.omega import plan_rounds, samples_at_most, sampling_choices
from diffrop.search.placement import Node, placement_sentence, trials_at_once
from diffrop.search.probe import Probe
from diffrop.search.rules import bracket_of, goes_on

WEIGHTS = "images_*.safetensors"


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
    """What a study is expected to take, start-up of the trials and metrics left out."""

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

    @property
    def confirmation_hours(self) -> float:
        """Of one training with a fresh seed, for the budget."""
        if self.confirm is None:
            return 0.0
        seconds = self.confirm.training_s + self.confirm.scoring_s
        return seconds / self.confirm.trials * self.units / 3600

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
    fork_images: int = 0,
) -> Plan:
    """Reckon what a study takes.

    Args:
        config: the study.
        launch: workers, confirmation, price.
        num_classes: of the data, which bounds the first round of the omega search.
        probe: speeds of one worker. Several are taken to be as many times as fast.
        nodes: what each node of the cluster has.
        fork_images: where the trials fork from their baseline, or begin after a given
            checkpoint.
    """
    reach = expected_trials(config)
    rungs, before = [], fork_images
    for rung, trials in zip(config.rungs, reach, strict=True):
        images = rung.images - before
        samples, scoring = _scoring(config.experiment, rung, num_classes, probe)
        rungs.append(
            RungPlan(
                **asdict_of(rung), trials=trials, trained=round(trials * images),
                samples=round(trials * samples),
                training_s=trials * _training_s(images, launch, probe),
                scoring_s=trials * scoring / launch.workers_per_trial,
            )
        )  # fmt: skip
        before = rung.images
    own_prefix = (config.fork_from or "").startswith("baseline@")
    prefix = _prefix(fork_images, launch, probe) if own_prefix else None
    fitting = trials_at_once(nodes, launch)
    limit = launch.max_concurrent or max(1, config.num_trials // 2)
    kept = config.experiment.training.keep_checkpoints + len(config.rungs) - 1
    confirmed = _confirm(config, launch, probe, fork_images if own_prefix else 0, fork_images)
    most = kept * config.num_trials + (kept * confirmed.trials if confirmed else 0)
    leaders = launch.keep_trials
    left = config.num_trials if leaders is None else min(config.num_trials, leaders + 1)
    return Plan(
        rungs=tuple(rungs),
        confirm=confirmed,
        prefix=prefix,
        prefix_saved=(config.num_trials - 1) * fork_images if own_prefix else 0,
        units=units_per_trial(launch),
        on_gpu=launch.gpus_per_worker > 0,
        at_once=min(fitting, limit),
        placement=placement_sentence(nodes, launch),
        checkpoints=kept * left + (most - kept * config.num_trials),
        checkpoints_most=most,
        probe=probe,
        price_per_gpu_hour=launch.price_per_gpu_hour,
    )


def asdict_of(rung: Rung) -> dict[str, Any]:
    """Return what a rung's plan takes over from it."""
    return {"images": rung.images, "num_samples": rung.num_samples, "num_steps": rung.num_steps}


def _training_s(images: int, launch: LaunchConfig, probe: Probe) -> float:
    return images / probe.train_images_per_s / launch.workers_per_trial


def _prefix(images: int, launch: LaunchConfig, probe: Probe) -> RungPlan:
    seconds = _training_s(images, launch, probe)
    return RungPlan(
        images=images, num_samples=0, num_steps=None, trials=1, training_s=seconds, scoring_s=0.0,
        samples=0, trained=images,
    )  # fmt: skip


def _confirm(
    config: StudyConfig, launch: LaunchConfig, probe: Probe, prefix: int, start: int
) -> ConfirmPlan | None:
    """Reckon the confirmation: one sampling choice, the prefix once for each seed."""
    if launch.confirm == 0:
        return None
    seeds, full = launch.confirm_seeds, config.rungs[-1]
    trials = (launch.confirm + 1) * seeds
    trained = trials * (full.images - start) + seeds * prefix
    (rate, _), _ = _rates(config.experiment, full), None
    samples = trials * full.num_samples
    seconds = samples * (rate / probe.denoise_images_per_s + _feature_s(probe))
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
    return samples, samples * (rate / probe.denoise_images_per_s + _feature_s(probe))


def _rates(config: ExperimentConfig, rung: Rung) -> tuple[float, int]:
    """Return the denoising evaluations of a sample, in the mean over candidates, and their number.

    Guidance takes two evaluations a step.
    """
    choices = sampling_choices(config, rung.num_steps)
    taken = [choice.sampling.num_steps * (2 if choice.omega else 1) for choice in choices]
    return sum(taken) / len(taken), len(choices)


def _feature_s(probe: Probe) -> float:
    return 1 / probe.feature_images_per_s if probe.feature_images_per_s else 0.0


def expected_trials(config: StudyConfig) -> list[float]:
    """Return how many trials are expected to reach each rung, if any order of them is as likely.

    The baseline always goes on, and so does the audited share of those that are to be stopped.
    Under pbt a trial that stops is followed by another that goes on from there, within the same
    number of trials.
    """
    early = len(config.rungs) - 1
    rule, factor, total = config.scheduler, config.reduction_factor, float(config.num_trials)
    if rule == "none" or early == 0:
        return [total] * (early + 1)
    if rule == "pbt":
        chains = total / (1 + early / factor)
        return [chains] * (early + 1)
    numbers = range(config.num_trials)
    brackets = Counter(bracket_of(n, early, factor) if rule == "hyperband" else 0 for n in numbers)
    reach = [0.0] * (early + 1)
    for bracket, count in brackets.items():
        judged, free = float(count), 0.0
        for place in range(early + 1):
            reach[place] += judged + free
            if bracket <= place < early:
                on = _going_on(rule, judged, factor, bracket_of(0, early, factor) == bracket)
                free += (judged - on) * config.audit_fraction
                judged = on
    return reach


def _going_on(rule: Scheduler, count: float, factor: float, baseline: bool) -> float:
    """Return how many of `count` trials, in any order, a rule lets go on."""
    whole = math.floor(count)
    share = count - whole
    on = _sum_going_on(rule, whole, factor) * (1 - share)
    on += _sum_going_on(rule, whole + 1, factor) * share
    if baseline and count > 1:  # it goes on whatever it scored
        on += 1 - on / count
    return min(on, count)


@lru_cache(maxsize=1024)
def _sum_going_on(rule: Scheduler, count: int, factor: float) -> float:
    """The trial that comes as number i is equally likely to have 0 to i - 1 better before it."""
    total = 0.0
    for others in range(count):
        low, high = 0, others + 1  # the first number of better ones that stops it
        while low < high:
            middle = (low + high) // 2
            if goes_on(rule, middle, others, factor):
                low = middle + 1
            else:
                high = middle
        total += low / (others + 1)
    return total


def measured_fact(
    study: Path, config: StudyConfig, launch: LaunchConfig, wall_s: float, since: float = 0.0
) -> dict[str, Any]:
    """Return what a study did cost, by the same names as `Plan.to_dict`.

    Args:
        study: its folder.
        config: its rungs.
        launch: workers, price.
        wall_s: of this launch, or of all if they are known.
        since: trainings of the store that ended before are not this study's.
    """
    units = units_per_trial(launch)
    trials = sorted((study / "trials").glob("t*"))
    ends = [rung.images for rung in config.rungs]
    rungs = [
        {**asdict_of(rung), "trials": 0, "training_s": 0.0, "scoring_s": 0.0, "samples": 0,
         "trained": 0}
        for rung in config.rungs
    ]  # fmt: skip
    unit_s, prefix = 0.0, _nothing()
    confirmed = _nothing()
    counted = set()
    points = sorted((study / "confirm").glob("t*"))
    for trial in (*trials, *points):
        for stretch in stretches(training_folder(trial)):
            if stretch in counted or stretch.time < since:
                continue
            counted.add(stretch)
            unit_s += stretch.seconds * stretch.units
            place = next((i for i, end in enumerate(ends) if stretch.end <= end), len(ends) - 1)
            part: dict[str, Any] = confirmed if trial.parent.name == "confirm" else rungs[place]
            part["training_s"] += stretch.seconds
            part["trained"] += stretch.end - stretch.begin
        for scoring in scorings(trial):
            unit_s += scoring.seconds * units
            place = ends.index(scoring.images) if scoring.images in ends else len(ends) - 1
            part = confirmed if trial.parent.name == "confirm" else rungs[place]
            part["scoring_s"] += scoring.seconds
            part["samples"] += scoring.samples
            part["trials"] += 1
    parts = [*rungs, confirmed]
    hours, price = unit_s / 3600, launch.price_per_gpu_hour
    folders = {training_folder(trial) for trial in (*trials, *points)}
    sizes = [path.stat().st_size for folder in folders for path in folder.glob(WEIGHTS)]
    return {
        "rungs": rungs,
        "prefix": prefix,
        "confirm": confirmed if points else None,
        "trials": len(trials),
        "gpu_hours": hours if launch.gpus_per_worker else 0.0,
        "worker_hours": None if launch.gpus_per_worker else hours,
        "wall_s": wall_s,
        "samples": sum(part["samples"] for part in parts),
        "images": sum(part["trained"] for part in parts),
        "memory_mib": None,
        "disk_mib": sum(sizes) / 2**20,
        "cost": None if price is None else price * hours,
        "price_per_gpu_hour": price,
    }


def _nothing() -> dict[str, Any]:
    return {"trials": 0, "training_s": 0.0, "scoring_s": 0.0, "samples": 0, "trained": 0}


def comparison(plan: Mapping[str, Any], fact: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return rows of (what, planned, actual) for the terminal and the report."""
    hours = "GPU-hours" if plan["gpu_hours"] else "worker-hours"
    key = "gpu_hours" if plan["gpu_hours"] else "worker_hours"
    rows = [
        (f"trials at {rung['images']:,} images", f"{rung['trials']:.3g}", f"{done['trials']:,}")
        for rung, done in zip(plan["rungs"], fact["rungs"], strict=True)
    ]
    if plan["confirm"] or fact["confirm"]:
        planned, done = (found["confirm"] or _nothing() for found in (plan, fact))
        rows.append(("trainings to confirm", f"{planned['trials']:,}", f"{done['trials']:,}"))
    rows += [
        (name, _amount(plan[field], form), _amount(fact[field], form))
        for name, field, form in (
            (hours, key, ".3g"), ("on the clock, s", "wall_s", ",.0f"),
            ("images trained", "images", ",.0f"), ("images sampled", "samples", ",.0f"),
            ("checkpoints, MiB", "disk_mib", ",.1f"), ("cost", "cost", ",.2f"),
        )
        if plan[field] is not None or fact[field] is not None
    ]  # fmt: skip
    return rows


def _amount(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
