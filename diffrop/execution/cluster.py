"""The Ray cluster: the only ray.init."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
import torch

from diffrop.errors import ResourceError
from diffrop.execution.placement import Node, trials_at_once
from diffrop.execution.ray_private import set_loopback_only
from diffrop.study.config import LaunchConfig

DRIVER_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the other output prints even at verbosity 0
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the study has its own: trials save before they stop
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports no score
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",  # a stopped trial that does not answer is killed
}


def resources_per_trial(launch: LaunchConfig) -> tuple[int, float]:
    """Return the CPUs and GPUs that one trial holds."""
    workers = launch.workers_per_trial
    return workers * launch.cpus_per_worker, workers * launch.gpus_per_worker


def local_resources() -> tuple[int, int]:
    """Return the CPUs that this process may use, and the GPUs of this machine."""
    return len(os.sched_getaffinity(0)), torch.cuda.device_count()


def nodes() -> list[dict[str, float]]:
    """Return the CPUs, GPUs and so on of each node of the cluster that was joined."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def check_resources(launch: LaunchConfig, cpus: float, gpus: float) -> None:
    """Raise ResourceError, naming both numbers, unless one trial fits."""
    need_cpus, need_gpus = resources_per_trial(launch)
    for name, need, have in (("CPUs", need_cpus, cpus), ("GPUs", need_gpus, gpus)):
        if need > have:
            raise ResourceError(
                f"a trial of {launch.workers_per_trial} worker(s) needs {need:g} {name}, and "
                f"there are {have:g}; allowed: fewer --workers-per-trial or a larger cluster"
            )


def check_this_machine(launch: LaunchConfig) -> None:
    """Raise ResourceError if a local cluster is asked for and no trial fits on this machine."""
    if launch.ray_address == "local":
        check_resources(launch, *local_resources())


def concurrency(launch: LaunchConfig, num_trials: int, nodes: Sequence[Node]) -> int:
    """Return how many trials run at a time.

    As many as fit, unless `max_concurrent` says less; by default no more than half of the study,
    so that the other half can learn from them.
    """
    limit = launch.max_concurrent or max(1, num_trials // 2)
    return max(1, min(trials_at_once(nodes, launch), limit))


@contextlib.contextmanager
def connect(launch: LaunchConfig) -> Iterator[None]:
    """Start a local cluster, or join the one at `ray_address`, and leave it at the end.

    A local cluster listens on the loopback interface only, with a token. Its dashboard runs,
    because Ray's clean-up of a stopped worker group asks it which actors are alive.

    Raises:
        ResourceError: a trial does not fit, or the cluster cannot be reached.
    """
    local = launch.ray_address == "local"
    check_this_machine(launch)
    os.environ.update(DRIVER_ENVIRONMENT)
    set_loopback_only(local)
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        if local:
            _start_local(launch)
        else:
            _join(launch)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ResourceError(
            f"no Ray cluster at {launch.ray_address!r} ({str(error).splitlines()[0]}); allowed: "
            "local, or the address of a running cluster"
        ) from error
    try:
        resources = ray.cluster_resources()
        check_resources(launch, resources.get("CPU", 0.0), resources.get("GPU", 0.0))
        yield
    finally:
        ray.shutdown()


def _start_local(launch: LaunchConfig) -> None:
    port = _free_port()
    _init(
        "local",
        _worker_environment(launch, f"127.0.0.1:{port}"),
        num_cpus=local_resources()[0],
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        dashboard_port=port,
    )
    _protect_token()


def _join(launch: LaunchConfig) -> None:
    """Join twice: the address of the dashboard is known only after the first time."""
    dashboard = _init(launch.ray_address, {}).dashboard_url
    ray.shutdown()
    _init(launch.ray_address, _worker_environment(launch, dashboard))


def _init(address: str, environment: dict[str, str], **options: Any) -> Any:
    return ray.init(
        address=address,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": environment},
        **options,
    )


def _worker_environment(launch: LaunchConfig, dashboard: str) -> dict[str, str]:
    """For the processes of the trials, which hand it on to their Ray Train workers."""
    return {
        "RAY_API_SERVER_ADDRESS": f"http://{dashboard}",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # it also paces reports
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(launch.worker_timeout_s),
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        # What one trial compiled, all trials of the runs folder load, on every node.
        "TORCHINDUCTOR_CACHE_DIR": str(Path(launch.runs_root).resolve() / ".cache" / "inductor"),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _protect_token() -> None:
    """Ray writes its token readable by everyone; make it the user's alone."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    with contextlib.suppress(OSError):
        path.chmod(0o600)
