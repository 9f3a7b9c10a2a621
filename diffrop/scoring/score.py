"""Scoring a checkpoint: the search for its best sampling choice, and the per-shot report."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor

from diffrop import distributed
from diffrop.config import ExperimentConfig
from diffrop.constraints import Scores, check_constraints
from diffrop.data import Dataset
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.metrics.reference import fitted_groups
from diffrop.metrics.report import ShotReport
from diffrop.record.score_card import CostPreference, CurvePoint, ScoreCard
from diffrop.schema import plain
from diffrop.scoring.cost_preference import prefer_cheap
from diffrop.scoring.samples import (
    FID_ALONE,
    Averages,
    CandidateSamples,
    Guides,
    ScoringInputs,
)
from diffrop.scoring.sampling_search import (
    Found,
    Round,
    plan_rounds,
    samples_at_most,
    search,
)
from diffrop.scoring.watch import Note, ScoringWatch
from diffrop.study.objectives import BaselineScores, Goal
from diffrop.study.rung import Rung
from diffrop.study.sampling_choice import MAX_CHEAPER, SamplingChoice, sampling_choices
from diffrop.training.joint_stop import NEVER, JointStop


def sampler_name(config: ExperimentConfig) -> str:
    """Return the samplers that a checkpoint may be scored with, such as ddim-10."""
    return ", ".join(dict.fromkeys(choice.sampler for choice in sampling_choices(config)))


@dataclass(frozen=True)
class Scored:
    """A checkpoint's scores with what is kept beside them."""

    card: ScoreCard
    images: Tensor
    """The first samples at the choice, uint8, ten of each class at most, in the order 0, 1, ...,
    C-1, 0, 1, ..."""
    influence: dict[str, Tensor]
    """Of the final score: each sample's influence on `metric/GROUP`, float32, and the samples'
    labels by `labels/GROUP`, for paired differences."""


def score_model(
    averages: Averages,
    schedule: NoiseSchedule,
    config: ExperimentConfig,
    inputs: ScoringInputs,
    rung: Rung,
    images_seen: int,
    baseline_scores: BaselineScores | None = None,
    stop: JointStop = NEVER,
    guides: Guides = MappingProxyType({}),
    note: Note = lambda now: None,
    average_errors: Mapping[float | None, float] = MappingProxyType({}),
) -> Scored:
    """Choose how to sample from a model, and score it; every worker returns the same.

    The final score has all of `evaluation.metrics`, with intervals, at the choice.

    Args:
        averages: every average of the weights that `evaluation.ema_lengths` names, or that of
            `sampling.ema_length`.
        schedule: on the device of the model.
        config: what is searched, and by which objectives and constraints.
        inputs: dataset, extractor and reference.
        rung: N, and the sampler's steps at most.
        images_seen: by the model.
        baseline_scores: `ScoreCard.scores_by_num_samples` of the baseline at the same rung, for
            constraints that refer to it; None for the baseline itself, or while it is unknown.
        stop: looked at between the steps of sampling, batches of features, and metrics.
        guides: every one that `evaluation.guides` names, or that of `sampling.guide`.
        note: takes how far it is, every few seconds.
        average_errors: of those averages that were reconstructed, by length.

    Raises:
        NonFiniteError: a score is NaN or infinite.
        StopRequested: it was asked to stop.
    """
    evaluation, device = config.evaluation, schedule.beta.device
    # Another trial's file, which may have come between two workers' looks.
    baseline_scores = distributed.from_rank_0(baseline_scores, device)
    choices = sampling_choices(config, rung.num_steps)
    method, num_classes = evaluation.omega_search, inputs.dataset.num_classes
    rounds = plan_rounds(method, choices, rung.num_samples, num_classes)
    most = samples_at_most(rounds) + num_cheaper(config, rung, choices) * rung.num_samples
    watch = ScoringWatch(images_seen, rounds, most, note)
    samples = CandidateSamples(averages, schedule, config, inputs, stop, guides, watch)
    found, preference = _chosen(samples, choices, rounds, config, rung, baseline_scores, device)
    report = samples.reports[found.best]
    if rung.final:
        report = samples.report(found.best, evaluation.metrics, details=True)
    card = ScoreCard(
        images_seen=images_seen,
        time=time.time(),
        objectives=list(evaluation.objectives),
        values=[report.scores[name] for name in evaluation.objectives],
        omega=found.best.omega,
        sampler=found.best.sampler,
        extractor=report.protocol.extractor,
        reference=report.protocol.reference,
        num_samples=dict(report.num_samples),
        num_reference=dict(report.num_reference),
        final=rung.final,
        curve=_with_scores(found, rung.num_samples, report.scores),
        intervals=dict(report.intervals),
        class_scores=dict(report.class_scores),
        samples_drawn=samples.num_drawn,
        seconds={name: round(value, 3) for name, value in samples.seconds.items()},
        asked=_asked(config, inputs, rung, baseline_scores),
        preference=preference,
        average_error=average_errors.get(found.best.sampling.ema_length),
    )
    return Scored(card, samples.first_images(found.best), _kept_influence(report))


def _chosen(
    samples: CandidateSamples,
    choices: Sequence[SamplingChoice],
    rounds: Sequence[Round],
    config: ExperimentConfig,
    rung: Rung,
    baseline_scores: BaselineScores | None,
    device: torch.device,
) -> tuple[Found, CostPreference | None]:
    """Search the sampling choices, and prefer a cheap one where the last score asks for it."""
    evaluation, full = config.evaluation, rung.num_samples
    goal = Goal(evaluation.objectives, evaluation.parsed_constraints, full, baseline_scores)
    found = search(choices, rounds, goal, partial(samples.scores, full=full))
    margin = evaluation.prefer_cheap
    if margin is None or not rung.final:
        return found, None
    report_of = partial(samples.detailed, num_samples=full)
    return prefer_cheap(choices, found, goal, margin, report_of, device)


def num_cheaper(config: ExperimentConfig, rung: Rung, choices: Sequence[SamplingChoice]) -> int:
    """Return how many cheap candidates are drawn on the full N beside the search, at most."""
    if not rung.final or config.evaluation.prefer_cheap is None:
        return 0
    return min(MAX_CHEAPER, len({choice.evaluations for choice in choices}) - 1)


def _with_scores(found: Found, num_samples: int, scores: Scores) -> list[CurvePoint]:
    """Return a search's curve, with all final scores at the point that was chosen."""
    chosen = (found.best.omega, found.best.sampler, num_samples)
    return [
        dataclasses.replace(point, scores=dict(scores))
        if (point.omega, point.sampler, point.num_samples) == chosen
        else point
        for point in found.curve
    ]


def _kept_influence(report: ShotReport) -> dict[str, Tensor]:
    """Return what `Scored.influence` holds; empty where the report has no intervals."""
    if not report.influence:
        return {}
    influence = {name: psi.float() for name, psi in report.influence.items()}
    return influence | {f"labels/{name}": of.contiguous() for name, of in report.labels.items()}


def score_choice(
    averages: Averages,
    schedule: NoiseSchedule,
    config: ExperimentConfig,
    inputs: ScoringInputs,
    choice: SamplingChoice,
    num_samples: int,
    guides: Guides = MappingProxyType({}),
) -> ShotReport:
    """Return the FIDs of one sampling choice, with intervals and influence; nothing is searched.

    The noise is that of `evaluation.seed`.
    """
    samples = CandidateSamples(averages, schedule, config, inputs, guides=guides)
    return samples.detailed(choice, num_samples)


def scored_alike(
    card: ScoreCard,
    config: ExperimentConfig,
    inputs: ScoringInputs,
    rung: Rung,
    baseline_scores: BaselineScores | None = None,
) -> bool:
    """Whether a stored score is what scoring now would give; see `score_model`."""
    names = (card.extractor, card.reference, card.num_samples["all"], card.final)
    asked = (inputs.extractor.name, inputs.reference.name, rung.num_samples, rung.final)
    return names == asked and card.asked == _asked(config, inputs, rung, baseline_scores)


def _asked(
    config: ExperimentConfig,
    inputs: ScoringInputs,
    rung: Rung,
    baseline_scores: BaselineScores | None,
) -> dict[str, Any]:
    """Return what a search depends on beside the model and its protocol, as JSON gives it back."""
    evaluation = config.evaluation
    base = None if baseline_scores is None else baseline_scores.get(rung.num_samples)
    choices = sampling_choices(config, rung.num_steps)
    search = evaluation.omega_search
    rounds = plan_rounds(search, choices, rung.num_samples, inputs.dataset.num_classes)
    found: dict[str, Any] = {
        "search": search,
        "rounds": [(each.num_samples, each.num_candidates) for each in rounds[:-1]],
        "choices": [(choice.omega, choice.sampler) for choice in choices],
        "objectives": evaluation.objectives,
        "bounds": {c.text: c.bound(base) for c in evaluation.parsed_constraints},
        "metrics": evaluation.metrics if rung.final else FID_ALONE,
        "seed": evaluation.seed,
    }
    if rung.final and evaluation.prefer_cheap is not None:
        found["prefer_cheap"] = evaluation.prefer_cheap
    return cast(dict[str, Any], plain(found))


def scored_groups(dataset: Dataset) -> list[str]:
    """Return the groups that have scores, "all" first.

    Raises:
        ValueError: there is none, of a single reference image.
    """
    groups = fitted_groups(dataset.reference.labels, dataset.shot_groups)
    if not groups:
        raise ValueError(
            f"the reference has {len(dataset.reference.labels)} image(s), too few for any score; "
            "allowed: at least 2"
        )
    return list(groups)


def check_scorable(config: ExperimentConfig, dataset: Dataset, num_samples: Sequence[int]) -> None:
    """Check all that a search of sampling choices needs, before anything starts.

    Args:
        config: objectives, constraints, samplers and averages.
        dataset: its classes and shot groups.
        num_samples: each N at which something is scored.

    Raises:
        ValueError: an objective or constraint cannot be read or is about a group that does not
            exist or has fewer than two samples or reference images, or there is no such sampler
            or average.
    """
    evaluation = config.evaluation
    known = [f"fid/{name}" for name in scored_groups(dataset)]
    for objective in evaluation.objectives:
        if objective not in known:
            reason = "has fewer than two reference images"
            if objective.partition("/")[2] not in dataset.shot_groups:
                reason = f"does not exist with {dataset.num_classes} class(es)"
            raise ValueError(
                f"objective is {objective}, and this group {reason}; allowed: {', '.join(known)}"
            )
    check_constraints(evaluation.constraints, known)
    sampling_choices(config)
    least = 2 * dataset.num_classes
    if min(num_samples) < least:
        raise ValueError(
            f"{min(num_samples)} samples are too few for a FID per shot group; allowed: at least "
            f"{least}, two of each class"
        )
