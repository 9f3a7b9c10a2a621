"""A study with everything that the engine can leave: the store, rounds, front, audits."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from diffrop.analysis.data.load import StudyResults
from diffrop.record.confirmation import (
    ConfirmationRecord,
    ConfirmedBaseline,
    ConfirmedLeader,
    PairedDifference,
)
from diffrop.record.cost import CostRecord, PlannedCost
from diffrop.record.json_files import write_json, write_record
from diffrop.record.results import StudyResult, front_points
from diffrop.record.rung_agreement import AgreementRecord, RungAgreement
from diffrop.record.study_folder import StudyFolder
from diffrop.record.tables import write_front, write_trials
from diffrop.record.trainings import Row, TrainingSegment
from diffrop.record.trial_state import AUDITED_AT
from diffrop.study.config import StudyConfig
from diffrop.study.space import Parameter, SearchSpace
from tests.made.analysed_study import (
    EXPERIMENT,
    REFERENCE_SCORES,
    SEARCHED,
    searched_values,
    write_grid,
)
from tests.made.full_card import FINAL, FULL, OMEGAS, RUNGS, SHOT_OFFSETS, full_card
from tests.made.plans import PROBE
from tests.made.scores import interval
from tests.made.stored_study import MadeTrial, store_results, store_training, store_trial

SCHEDULES = ("exponential", "constant", "linear", "cosine")
PREFIX, FORK = "00c0ffee00c0ffee", 2_048
"""The training that all trials fork from, and the images at which they do."""
TRAINING_S = 40.0
"""Of each segment between two rungs."""
BEGAN = 1.6e9
"""When the study began, in seconds since 1970."""

# number, state, form, tau_0, decay_temperature, margin, schedule, rungs reached
TRIALS = (
    (0, "COMPLETE", "none", None, None, None, None, 3),
    (1, "COMPLETE", "reciprocal", 3.2, 0.3, None, "exponential", 3),
    (2, "COMPLETE", "exponential", 8.5, 0.55, None, "exponential", 3),
    (3, "COMPLETE", "hinge", 1.1, 0.2, 1.02, "exponential", 3),
    (4, "COMPLETE", "negative_l2", 0.4, 0.9, None, "constant", 3),
    (5, "COMPLETE", "reciprocal", 31.0, 0.12, None, "linear", 3),
    (6, "PRUNED", "exponential", 0.2, 0.35, None, "cosine", 1),
    (7, "FAIL", "negative_l2", 92.0, 0.7, None, "constant", 0),
    (8, "COMPLETE", "hinge", 15.0, 0.4, 0.997, "constant", 3),
    (9, "COMPLETE", "reciprocal", 0.9, 0.5, None, "cosine", 3),
    (10, "COMPLETE", "exponential", 2.1, 0.25, None, "linear", 3),
    (11, "PRUNED", "hinge", 60.0, 0.8, 1.045, "cosine", 2),
    (12, "COMPLETE", "hinge", 4.0, 0.3, 1.035, "exponential", 3),
    (13, "COMPLETE", "reciprocal", 5.5, 0.2, None, "exponential", 3),
    (14, "PRUNED", "negative_l2", 20.0, 0.15, None, "linear", 1),
    (15, "COMPLETE", "exponential", 20.0, 0.1, None, "cosine", 3),
    (16, "RUNNING", "reciprocal", 1.5, 0.8, None, "constant", 1),
    (17, "COMPLETE", "negative_l2", 1.2, 0.3, None, "exponential", 3),
)
AUDITED = {8: 12_032, 17: 6_016}
"""Trials that the rule would have stopped, with the images at which."""
KEY = "contrastive.tau_schedule"
CONSTRAINT = "fid/many <= baseline + 5%"

FULL_EXPERIMENT = EXPERIMENT.with_values(
    {
        "evaluation.objectives": ["fid/all", "fid/few"],
        "evaluation.constraints": [CONSTRAINT],
        "evaluation.guidance_scales": list(OMEGAS),
        "sampling.num_steps": 16,
    }
)
FULL_SPACE = SearchSpace(
    parameters=(*SEARCHED.parameters, Parameter(name=KEY, choices=SCHEDULES, source="Figure 4a"))
)
COST = CostRecord(
    began=BEGAN,
    plan=PlannedCost(
        rungs=(),
        trials=18,
        gpu_hours=0.0,
        worker_hours=0.75,
        wall_s=1350.0,
        samples=90_000,
        images=300_000,
        memory_mib=900,
        disk_mib=120,
        units=2,
        at_once=1,
        placement="",
        probe=PROBE,
    ),
)


def write_full_study(
    directory: Path,
    name: str = "full",
    trials: Sequence[tuple[Any, ...]] = TRIALS,
    added: Mapping[int, Mapping[str, float]] = MappingProxyType({}),
) -> Path:
    """Write a study with every file that one can have; `added` is added to FIDs of its trials."""
    folder = StudyFolder(directory)
    config = StudyConfig(
        name=name,
        num_trials=len(trials),
        scheduler="asha",
        fork_from=f"baseline@{FORK}",
        space=FULL_SPACE,
        experiment=FULL_EXPERIMENT,
    )
    store_training(folder.store, PREFIX, segments=[_segment(0, FORK)], rows=_rows([FORK]))
    made = [_write_trial(folder, added.get(trial[0], {}), *trial) for trial in trials]
    store_trial(folder.prefix(0), folder.store, PREFIX)
    result = with_differences(store_results(directory, config, made, COST))
    write_trials(folder, result)
    base = result.trials[0].card
    points = front_points(result.ranked, config, base.scores if base else None)
    write_front(folder, points, config.experiment.evaluation.objectives)
    write_record(folder.confirmation, _write_confirmation(folder))
    write_record(folder.rung_agreement, agreement(len(result.ranked)))
    write_json(folder.reference_scores, REFERENCE_SCORES)
    return directory


def with_confirmation(study: StudyResults, **changes: Any) -> StudyResults:
    """Return the study with other values in its record of the confirmation."""
    assert study.confirmation is not None
    return replace(study, confirmation=replace(study.confirmation, **changes))


def with_differences(result: StudyResult) -> StudyResult:
    """Return results whose differences to the baseline are known to 0.6 on both sides."""
    base = result.trials[0].card
    assert base is not None
    found = {
        trial.number: {
            f"fid/{group}": interval(
                trial.card.scores[f"fid/{group}"] - base.scores[f"fid/{group}"], 0.6, FULL
            )
            for group in SHOT_OFFSETS
        }
        for trial in result.ranked
        if trial.number > 0 and trial.card is not None
    }
    return replace(result, differences=found)


def agreement(num_trials: int) -> AgreementRecord:
    """What fidelity.json holds of so many trials with a full score."""
    ends = {6_016: (0.62, 0.21, 0.87), 12_032: (0.81, 0.55, 0.95)}
    return AgreementRecord(
        rungs=tuple(
            RungAgreement(
                images=images,
                num_samples=RUNGS[images][0],
                num_steps=RUNGS[images][1],
                num_trials=num_trials,
                num_audited=len(AUDITED),
                tau=tau,
                low=low,
                high=high,
            )
            for images, (tau, low, high) in ends.items()
        ),
        conclusion="The rungs rank as the end does, from 6,016 images on.",
    )


def _write_trial(
    folder: StudyFolder,
    added: Mapping[str, float],
    number: int,
    state: str,
    form: str,
    tau_0: float | None,
    kappa: float | None,
    margin: float | None,
    schedule: str | None,
    num_rungs: int,
) -> MadeTrial:
    """Write a trial's training, and return the trial."""
    rungs, key = list(RUNGS)[:num_rungs], f"{number:016x}"
    rows = _rows(rungs or [FORK], number, form, tau_0)
    _write_fork(folder, key, rungs or [FORK + 512], rows)
    if rungs:
        write_grid(folder.trial(number).grid_path(rungs[-1]), number)
    return MadeTrial(
        number=number,
        state=state,
        values=searched_values(form, tau_0, kappa, margin, **{KEY: schedule}),
        cards=[full_card(number, form, tau_0, schedule, images, added) for images in rungs],
        training=key,
        message="NonFiniteError: loss is nan" if state == "FAIL" else "",
        duration_s=20 + 60 * num_rungs,
        attributes={AUDITED_AT: AUDITED[number]} if number in AUDITED else {},
    )


def _rows(
    rungs: Sequence[int], number: int = 99, form: str = "none", tau_0: float | None = None
) -> list[Row]:
    """The curves of a training up to the last of some rungs."""
    rng = np.random.default_rng(number)
    rows = []
    for seen in range(512, rungs[-1] + 1, 512):
        row = {
            "images_seen": seen,
            "time": 1.7e9 + seen,
            "log_every_images": FULL_EXPERIMENT.training.log_every_images,
            "grad_norm": 0.4,
            "images_per_s": 130.0,
            "loss/ddpm": 0.1 + 200 / seen + 0.01 * float(rng.normal()),
        }
        if tau_0 is not None:
            ratio = 0.01 * tau_0 * math.exp(rng.normal(0, 0.4))
            row |= {"loss/pcl": 0.3 * tau_0, "pcl/grad_ratio": ratio}
        if form == "hinge":
            row["pcl/active_share"] = float(np.clip(rng.normal(0.5, 0.05), 0, 1))
        rows.append(row)
    return rows


def _segment(begin: int, end: int) -> TrainingSegment:
    return TrainingSegment(begin, end, TRAINING_S, workers=2, gpus=0, time=1.7e9)


def _write_fork(
    folder: StudyFolder, key: str, ends: Sequence[int], rows: Sequence[Row] = ()
) -> None:
    """Write a training that forks from the prefix, trained in one go up to each of some images."""
    begins = (FORK, *ends)
    segments = [_segment(begin, end) for begin, end in zip(begins, ends, strict=False)]
    parent = f"{PREFIX}-{FORK}"
    store_training(folder.store, key, segments=segments, rows=rows, parent=parent)


def _write_confirmation(folder: StudyFolder) -> ConfirmationRecord:
    """Write the retrainings of two leaders, and return what fresh seeds say of them."""
    leaders = []
    for place, number in enumerate((1, 13)):
        card = full_card(number, "reciprocal", 3.2, "exponential", FINAL)
        for index in range(3):
            key = f"c{number:02d}{index:013x}"
            _write_fork(folder, key, [FINAL])
            store_trial(folder.retraining(number, index), folder.store, key, [card])
        found = tuple(-2.4 + place * 1.9 + shift for shift in (-0.3, 0.1, 0.4))
        mean = sum(found) / 3
        difference = PairedDifference(by_seed=found, mean=mean, low=mean - 0.9, high=mean + 0.9)
        leaders.append(
            ConfirmedLeader(
                trial=number,
                name=f"t{number:03d} reciprocal",
                **vars(difference),
                values=tuple(46.0 + x for x in found),
                seed_indices=(0, 1, 2),
                sample_intervals=(None, None, None),
                objectives={"fid/all": difference},
            )
        )
    sentence = "t001 is better than the baseline on fresh seeds."
    return ConfirmationRecord(
        seeds=(101, 102, 103),
        sample_seeds=(201, 202, 203),
        omega={"t000": 0.5, "t001": 1.0, "t013": 1.0},
        sampler=dict.fromkeys(("t000", "t001", "t013"), "ddim-16"),
        alpha=0.05,
        num_seeds=3,
        max_seeds=3,
        objective="fid/all",
        objectives=("fid/all", "fid/few"),
        num_samples=FULL,
        leaders=tuple(leaders),
        baseline=ConfirmedBaseline(values=(46.0, 46.2, 45.9)),
        conditional_on_prefix=True,
        num_trials=len(TRIALS),
        num_left=0,
        finding=sentence,
        conclusion=sentence,
        best=1,
    )
