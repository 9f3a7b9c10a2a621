"""What a study writes down beside its trials: plan, fact, rungs' agreement, confirmation."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import torch

from diffrop.config import ExperimentConfig
from diffrop.cost.actual import actual_cost
from diffrop.cost.plan import ConfirmPlan, make_plan
from diffrop.cost.probe import Probe, measure_speeds
from diffrop.engine.drivers import try_lock
from diffrop.execution.placement import Node
from diffrop.record.results import StudyResult
from diffrop.record.study_files import (
    CONFIRM_LOCK,
    CONFIRMATION,
    FIDELITY,
    PLAN,
    read_record,
    write_record,
)
from diffrop.scoring.samples import ScoringInputs
from diffrop.search.rung_agreement import rung_agreement
from diffrop.study.config import LaunchConfig, StudyConfig


def open_plan(
    folder: Path,
    study: optuna.Study,
    config: StudyConfig,
    launch: LaunchConfig,
    inputs: ScoringInputs,
    nodes: Sequence[Node],
) -> None:
    """Write what a study, its earlier launches included, is expected to take as it is asked now.

    A later launch reckons with the speeds that an earlier one measured, so that what it asks for
    alone changes the plan, and keeps what an earlier one planned to confirm.
    """
    book = read_record(folder, PLAN) or {"began": time.time(), "plan": None, "fact": None}
    before: dict[str, Any] = book["plan"] or {}
    probe = _probe(config, launch, inputs, before.get("probe"))
    made = make_plan(config, launch, inputs.dataset.num_classes, probe, nodes)
    if made.confirm is None and before.get("confirm"):
        made = replace(made, confirm=ConfirmPlan(**before["confirm"]))
    plan = made.to_dict()
    write_record(folder, study, PLAN, book | {"plan": plan})


def _probe(
    config: StudyConfig,
    launch: LaunchConfig,
    inputs: ScoringInputs,
    before: Mapping[str, Any] | None,
) -> Probe:
    """Return the speeds of a worker as an earlier launch measured them, or as they are here.

    A GPU is measured in a process that ends afterwards, on a node that has one: it keeps no
    memory of it, and what it compiles the trials find.
    """
    on_gpu = launch.gpus_per_worker > 0
    if before and (before["device"] != "cpu") == on_gpu:
        return Probe(**before)
    if not on_gpu:
        return _measure(config.experiment, inputs, launch.cpus_per_worker, "cpu")
    import ray  # not above: status.py reads books without it
    from ray.exceptions import RayTaskError

    needs = {"num_cpus": launch.cpus_per_worker, "num_gpus": launch.gpus_per_worker}
    apart = ray.remote(**needs, max_calls=1)(_measure)
    try:
        found: Probe = ray.get(
            apart.remote(config.experiment, inputs, launch.cpus_per_worker, "cuda")
        )
    except RayTaskError as error:
        raise error.cause from error
    return found


def _measure(config: ExperimentConfig, inputs: ScoringInputs, cpus: int, device: str) -> Probe:
    return measure_speeds(
        config,
        inputs.dataset,
        inputs.extractor,
        torch.device(device),
        reference=inputs.reference,
        cpus=cpus,
    )


def close_plan(
    folder: Path, study: optuna.Study, config: StudyConfig, launch: LaunchConfig, wall_s: float
) -> None:
    """Write what a study has cost so far, this launch's `wall_s` added to the clock."""
    book = read_record(folder, PLAN)
    if book:
        wall_s += (book["fact"] or {"wall_s": 0.0})["wall_s"]
        fact = actual_cost(folder, config, launch, wall_s, book["began"])
        write_record(folder, study, PLAN, book | {"fact": fact})


def write_fidelity(folder: Path, study: optuna.Study, config: StudyConfig) -> None:
    """Write how far each rung orders trials as the full score does."""
    found = rung_agreement(study.get_trials(deepcopy=False), config)
    write_record(folder, study, FIDELITY, found)


def close_confirmation(
    folder: Path, study: optuna.Study, result: StudyResult, refusal: str
) -> dict[str, Any]:
    """Write into a confirmation's verdict what a reader must know at a launch's end; return it.

    It stops to be current once the study has other leaders; the search's own leads then. Nothing
    is written where there is none, or while another driver confirms.

    Args:
        folder: of the study.
        study: Optuna's.
        result: its trials as they stand.
        refusal: why the budget let nothing more begin; empty if it did.
    """
    if not read_record(folder, CONFIRMATION):
        return {}
    with try_lock(folder / CONFIRM_LOCK) as held:
        book = read_record(folder, CONFIRMATION)
        if held:
            confirmed = [leader["trial"] for leader in book["leaders"]]
            current = set(result.leaders(len(confirmed))) == set(confirmed)
            said = [book["finding"]]
            if refusal and book["num_left"]:
                said.insert(0, f"Ended early: {refusal}.")
            if not current:
                of = f"the first {book['num_trials']} trials, not of the present leaders"
                said.insert(0, f"The confirmation is of {of}.")
            book |= {"current": current, "verdict": " ".join(said)}
            write_record(folder, study, CONFIRMATION, book)
    return book
