"""What a launch writes down of its study: planned and actual cost, agreement, conclusions."""

import time
from collections.abc import Sequence
from dataclasses import replace

import optuna
import ray
import torch
from ray.exceptions import RayTaskError

from diffrop.config import ExperimentConfig
from diffrop.cost.actual import actual_cost
from diffrop.cost.plan import make_plan
from diffrop.cost.probe import measure_speeds
from diffrop.execution.placement import Node
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.cost import CostRecord, Probe
from diffrop.record.json_files import read_record
from diffrop.record.results import StudyResult
from diffrop.record.shared_records import share_record
from diffrop.record.study_folder import StudyFolder
from diffrop.scoring.samples import ScoringInputs
from diffrop.search.rung_agreement import rung_agreement
from diffrop.storage import try_lock
from diffrop.study.config import LaunchConfig, StudyConfig


def record_plan(
    folder: StudyFolder,
    study: optuna.Study,
    config: StudyConfig,
    launch: LaunchConfig,
    inputs: ScoringInputs,
    nodes: Sequence[Node],
) -> None:
    """Write what a study, its earlier launches included, is expected to take as it is asked now.

    A later launch uses the speeds that an earlier one measured, so that what it asks for alone
    changes the plan, and keeps what an earlier one planned to confirm.
    """
    record = read_record(folder.cost, CostRecord) or CostRecord(began=time.time())
    before = record.plan
    probe = _probe(config, launch, inputs, before.probe if before else None)
    plan = make_plan(config, launch, inputs.dataset.num_classes, probe, nodes)
    if plan.confirm is None and before is not None:
        plan = replace(plan, confirm=before.confirm)
    share_record(study, folder.cost, replace(record, plan=plan))


def _probe(
    config: StudyConfig, launch: LaunchConfig, inputs: ScoringInputs, before: Probe | None
) -> Probe:
    """Return the speeds of a worker as an earlier launch measured them, or as they are here.

    A GPU is measured in a process that ends afterwards, on a node that has one: it keeps no
    memory of it, and the trials find what it compiles.
    """
    on_gpu = launch.gpus_per_worker > 0
    if before is not None and (before.device != "cpu") == on_gpu:
        return before
    if not on_gpu:
        return _measure(config.experiment, inputs, launch.cpus_per_worker, "cpu")
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


def record_actual_cost(
    folder: StudyFolder,
    study: optuna.Study,
    config: StudyConfig,
    launch: LaunchConfig,
    wall_s: float,
) -> None:
    """Write what a study has cost so far, `wall_s` of this launch added to the wall clock."""
    record = read_record(folder.cost, CostRecord)
    if record is None:
        return
    wall_s += 0.0 if record.actual is None else record.actual.wall_s
    actual = actual_cost(folder, config, launch, wall_s, record.began)
    share_record(study, folder.cost, replace(record, actual=actual))


def record_agreement(folder: StudyFolder, study: optuna.Study, config: StudyConfig) -> None:
    """Write how far each rung orders trials as the full score does."""
    found = rung_agreement(study.get_trials(deepcopy=False), config)
    share_record(study, folder.rung_agreement, found)


def record_conclusion(
    folder: StudyFolder, study: optuna.Study, result: StudyResult, refusal: str
) -> ConfirmationRecord | None:
    """Write into a confirmation what a reader must know at a launch's end; return it.

    It is outdated once the study has other leaders; then the leader of the search counts. Nothing
    is written where there is no confirmation, or while another driver confirms.

    Args:
        folder: of the study.
        study: Optuna's.
        result: its trials as they stand.
        refusal: why the budget let nothing more begin; empty if it did.
    """
    if read_record(folder.confirmation, ConfirmationRecord) is None:
        return None
    with try_lock(folder.confirmation_lock) as held:
        record = read_record(folder.confirmation, ConfirmationRecord)
        if held and record is not None:
            confirmed = [leader.trial for leader in record.leaders]
            current = set(result.leaders(len(confirmed))) == set(confirmed)
            sentences = [record.finding]
            if refusal and record.num_left:
                sentences.insert(0, f"Ended early: {refusal}.")
            if not current:
                of = f"the first {record.num_trials} trials, not of the present leaders"
                sentences.insert(0, f"The confirmation is of {of}.")
            record = replace(record, current=current, conclusion=" ".join(sentences))
            share_record(study, folder.confirmation, record)
    return record
