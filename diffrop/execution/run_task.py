"""Running a trial's function: in this process for one worker, by Ray Train for several."""

from typing import Any

import ray
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchConfig
from ray.util.queue import Queue

from diffrop.errors import NonFiniteError, OutageError, OutOfMemoryError, StopRequested
from diffrop.execution.ray_private import WorkerGroupTrainer, in_trial
from diffrop.execution.trial import Report, TrialTask, run_trial
from diffrop.file_rights import keep_others_out
from diffrop.memory import out_of_memory_as
from diffrop.patience import full_disk
from diffrop.record.trial_state import Failed, Stopped, to_result
from diffrop.scoring.samples import ScoringInputs
from diffrop.study.config import LaunchConfig


def run_task(
    task: TrialTask,
    inputs: ScoringInputs,
    launch: LaunchConfig,
    report: Report,
    storage_path: str,
    run_name: str,
    callbacks: list[UserCallback],
) -> None:
    """Run a trial on the workers that `launch` asks for.

    Within a trial of Tune's, Tune holds the workers' CPUs and GPUs and starts the whole trial
    again when a worker is lost; outside, Ray Train does both for a worker group. Failures that a
    restart would repeat (a non-finite loss, too little memory) are reported as `Failed` instead of
    raised, and a request to stop as `Stopped`.

    Args:
        task: the trial.
        inputs: dataset, extractor and reference.
        launch: workers, CPUs and GPUs.
        report: receives the results of a one-worker trial; a worker group reports to Ray Train.
        storage_path: folder for Ray Train's own files.
        run_name: unique name of the Ray Train run.
        callbacks: of the Ray Train run, which pass its reports on.
    """
    if launch.workers_per_trial == 1:
        torch.set_num_threads(launch.cpus_per_worker)
        device = torch.device("cuda" if launch.gpus_per_worker else "cpu")
        if 0 < launch.gpus_per_worker < 1:  # several trials share a GPU: each keeps to its part
            torch.cuda.set_per_process_memory_fraction(launch.gpus_per_worker)
        _run_and_report(task, inputs, device, report)
        return
    per_worker = {"CPU": float(launch.cpus_per_worker), "GPU": launch.gpus_per_worker}
    WorkerGroupTrainer(
        _train_worker,
        train_loop_config={"task": task, "inputs": [ray.put(inputs)], "launch": launch},
        torch_config=TorchConfig(backend="nccl" if launch.gpus_per_worker else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=launch.workers_per_trial,
            use_gpu=launch.gpus_per_worker > 0,
            resources_per_worker={name: count for name, count in per_worker.items() if count},
        ),
        run_config=RunConfig(
            name=run_name,
            storage_path=storage_path,
            callbacks=callbacks,
            failure_config=_restarts(launch),
        ),
    ).fit()


def _restarts(launch: LaunchConfig) -> FailureConfig:
    """How often Ray Train starts a group again: within a trial never, for Tune does so."""
    if in_trial():
        return FailureConfig(max_failures=0, controller_failure_limit=0, max_preemption_failures=0)
    return FailureConfig(
        max_failures=launch.max_failures, controller_failure_limit=launch.max_failures
    )


class QueueCallback(UserCallback):
    """Puts a worker group's results into a queue, for Ray Train calls it in another process."""

    def __init__(self, queue: Queue) -> None:
        """Use a queue that whoever called `run_task` reads."""
        self._queue = queue

    def after_report(
        self, run_context: object, metrics: list[dict[str, Any]], checkpoint: object
    ) -> None:
        """Put what rank 0 reported."""
        self._queue.put(metrics[0])


def _train_worker(config: dict[str, Any]) -> None:
    """The Ray Train worker; all of them report, rank 0's results count."""
    import ray.train
    import ray.train.torch

    torch.set_num_threads(config["launch"].cpus_per_worker)
    inputs = ray.get(config["inputs"][0])
    device = ray.train.torch.get_device()
    _run_and_report(
        config["task"], inputs, device, lambda found: ray.train.report(to_result(found))
    )


def _run_and_report(
    task: TrialTask, inputs: ScoringInputs, device: torch.device, report: Report
) -> None:
    keep_others_out()  # on a cluster that was joined, no command has done so
    patience = task.patience()
    alone = not torch.distributed.is_initialized()

    def run() -> None:
        run_trial(task, inputs, device, report, patience)

    try:
        with out_of_memory_as(
            "out of memory; lower training.batch_size, model.base_channels or "
            "evaluation.num_samples, or run fewer trials at a time"
        ):
            if alone:  # what cannot wait by itself begins anew from the newest checkpoint
                patience.retry(run, full_disk(task.directory))
            else:
                run()
    except StopRequested:  # raised by every worker at the same step
        report(Stopped())
    except OutageError as error:  # likewise
        report(Stopped(outage=str(error)))
    except NonFiniteError as error:  # raised by every worker at the same step
        report(Failed(message=str(error)))
    except OutOfMemoryError as error:
        if not alone:
            raise  # the other workers wait in a collective: only a restart frees them
        report(Failed(message=str(error)))
