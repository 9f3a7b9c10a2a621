"""What a study would do and cost, estimated from a short measurement."""

from collections.abc import Sequence

from diffrop.config import ExperimentConfig
from diffrop.execution.placement import Node, placement_sentence, trials_at_once, units_per_trial
from diffrop.power_average import snapshot_times
from diffrop.record.cost import CostPart, PlannedCost, Probe, RungCost
from diffrop.scoring.sampling_search import plan_rounds, samples_at_most
from diffrop.scoring.score import num_cheaper
from diffrop.search.expected_survivors import expected_survivors
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.study.rung import Rung, guides_of
from diffrop.study.sampling_choice import sampling_choices

FIDS_OF_CARRIED = 3
"""Decompositions of a score that is carried to the full N: its own, and one for each half."""


def make_plan(
    config: StudyConfig,
    launch: LaunchConfig,
    num_classes: int,
    probe: Probe,
    nodes: Sequence[Node],
) -> PlannedCost:
    """Estimate what a study takes.

    Args:
        config: the study.
        launch: workers, confirmation, price.
        num_classes: of the data, which bounds the first round of the omega search.
        probe: speeds of one worker. Several are taken to be as many times as fast.
        nodes: what each node of the cluster has.
    """
    fork = config.fork_point
    fork_images, prefix_images = fork.images if fork else 0, config.prefix_images
    reach = expected_survivors(config)
    rungs = _rungs(config, launch, num_classes, probe, reach)
    prefix = _prefix(prefix_images, launch, probe) if prefix_images else None
    fitting = trials_at_once(nodes, launch)
    limit = launch.max_concurrent or max(1, config.num_trials // 2)
    at_once = min(fitting, limit)
    confirmed = _confirm(config, launch, probe, prefix_images, fork_images)
    files, files_at_most = _checkpoints(config, launch, reach)
    snapshots, snapshots_at_most = _snapshots(config, launch, reach)
    units, price = units_per_trial(launch), launch.price_per_gpu_hour
    parts = [part for part in (prefix, *rungs, confirmed) if part is not None]
    seconds = sum(part.training_s + part.scoring_s for part in parts)
    hours, on_gpu = seconds * units / 3600, launch.gpus_per_worker > 0
    return PlannedCost(
        rungs=rungs,
        prefix=prefix,
        prefix_saved=(config.num_trials - 1) * prefix_images,
        confirm=confirmed,
        trials=rungs[0].trials,
        gpu_hours=hours if on_gpu else 0.0,
        worker_hours=None if on_gpu else hours,
        wall_s=seconds / max(1, at_once),
        samples=sum(part.samples for part in parts),
        images=sum(part.trained for part in parts),
        memory_mib=probe.memory_mib,
        disk_mib=files * probe.checkpoint_mib + snapshots * probe.snapshot_mib,
        cost=None if price is None else price * hours,
        price_per_gpu_hour=price,
        budget_hours=launch.budget_gpu_hours,
        budget_wall_s=launch.budget_wall_s,
        units=units,
        at_once=at_once,
        placement=placement_sentence(nodes, launch),
        probe=probe,
        checkpoints=files,
        checkpoints_at_most=files_at_most,
        snapshots=snapshots,
        snapshots_at_most=snapshots_at_most,
    )


def _rungs(
    config: StudyConfig,
    launch: LaunchConfig,
    num_classes: int,
    probe: Probe,
    reach: Sequence[float],
) -> tuple[RungCost, ...]:
    """Return what all trials take from each rung to the next, of which so many reach it."""
    fork = config.fork_point
    found, before = [], fork.images if fork else 0
    for rung, trials in zip(config.rungs, reach, strict=True):
        images = rung.images - before
        samples, scoring = _scoring(config.experiment, rung, num_classes, probe)
        found.append(
            RungCost(
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
    return tuple(found)


def _training_s(images: int, launch: LaunchConfig, probe: Probe) -> float:
    return images / probe.train_images_per_s / launch.workers_per_trial


def _prefix(images: int, launch: LaunchConfig, probe: Probe) -> CostPart:
    return CostPart(trials=1, training_s=_training_s(images, launch, probe), trained=images)


def _checkpoints(
    config: StudyConfig, launch: LaunchConfig, reach: Sequence[float]
) -> tuple[int, int]:
    """Return how many checkpoints are kept at the end, and at most while the study runs.

    Every rung's is kept for its scores, with those that guide it, and the newest few of a trial
    beside them. A confirmed choice has one guide at most.
    """
    newest = config.experiment.training.keep_checkpoints - 1
    times = [{rung.images, *guides_of(config.experiment, [rung])} for rung in config.rungs]
    guided = any(config.experiment.scored_guides)
    retrained = (launch.confirm + 1) * launch.confirm_seeds
    confirmed = launch.confirm and retrained * (1 + guided + newest)
    at_end, at_most = _kept(times, newest, config, launch, reach)
    return at_end + confirmed, at_most + confirmed


def _snapshots(
    config: StudyConfig, launch: LaunchConfig, reach: Sequence[float]
) -> tuple[int, int]:
    """Return how many snapshots of averages are kept at the end, and at most while it runs.

    Each stays with the checkpoints for which it counts. Those before a fork are of one training.
    """
    fork, training = config.fork_point, config.experiment.training
    size, often = training.batch_size, training.snapshots_per_doubling
    since = fork.images if fork else 0
    times = [set(snapshot_times(rung.images, size, often, since)) for rung in config.rungs]
    before = len(snapshot_times(config.prefix_images, size, often))
    retrained = (launch.confirm + 1) * len(times[-1]) + before
    more = before + (launch.confirm and launch.confirm_seeds * retrained)
    at_end, at_most = _kept(times, 0, config, launch, reach)
    return at_end + more, at_most + more


def _kept(
    times: Sequence[set[int]],
    newest: int,
    config: StudyConfig,
    launch: LaunchConfig,
    reach: Sequence[float],
) -> tuple[int, int]:
    """Return how many files the trials keep at the end, and at most while the study runs.

    Args:
        times: of the files that a trial keeps for each rung; one kept for several counts once.
        newest: how many more each trial keeps.
        config: the study.
        launch: how many leaders keep theirs to the end, beside the baseline.
        reach: trials at each rung.
    """
    kept: set[int] = set()
    added = 0.0
    for trials, found in zip(reach, times, strict=True):
        added += trials * len(found - kept)
        kept |= found
    at_most = round(added) + newest * config.num_trials
    if launch.keep_trials is None:
        return at_most, at_most
    leaders = min(config.num_trials, launch.keep_trials + 1)
    return leaders * (len(kept) + newest), at_most


def _confirm(
    config: StudyConfig, launch: LaunchConfig, probe: Probe, prefix: int, start: int
) -> CostPart | None:
    """Estimate the confirmation: one sampling choice, the prefix once for each seed."""
    if launch.confirm == 0:
        return None
    seeds, full = launch.confirm_seeds, config.rungs[-1]
    trials = (launch.confirm + 1) * seeds
    trained = trials * (full.images - start) + seeds * prefix
    rate = _rate(config.experiment, full)
    samples = trials * full.num_samples
    seconds = samples * (rate / probe.denoise_images_per_s + _feature_s(probe) + probe.metrics_s)
    return CostPart(
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
    rate = _rate(config, rung)
    choices = sampling_choices(config, rung.num_steps)
    rounds = plan_rounds(config.evaluation.omega_search, choices, rung.num_samples, num_classes)
    samples = samples_at_most(rounds)
    samples += num_cheaper(config, rung, choices) * rung.num_samples
    seconds = samples * (rate / probe.denoise_images_per_s + _feature_s(probe))
    if rung.final:
        seconds += rung.num_samples * probe.metrics_s
    reports = sum(
        current.num_candidates
        * (1 if current.num_samples == rung.num_samples else FIDS_OF_CARRIED)
        for current in rounds
    )
    return samples, seconds + reports * probe.fid_s


def _rate(config: ExperimentConfig, rung: Rung) -> float:
    """Return the evaluations for a sample, in the mean over candidates."""
    taken = [choice.evaluations for choice in sampling_choices(config, rung.num_steps)]
    return sum(taken) / len(taken)


def _feature_s(probe: Probe) -> float:
    return 1 / probe.feature_images_per_s if probe.feature_images_per_s else 0.0
