"""The Ray cluster: the only ray.init."""

import contextlib
import logging
import os
import resource
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import ray
import torch

from diffrop.errors import FaultError, ResourceError
from diffrop.execution.placement import Node, trials_at_once
from diffrop.execution.ray_private import (
    default_folder,
    set_loopback_only,
    signals_left_to_us,
    start_limit,
)
from diffrop.execution.watch import Address, end_program, watched
from diffrop.signals import held_back
from diffrop.study.config import LaunchConfig

DRIVER_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the other output prints even at verbosity 0
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the study has its own: trials save before they stop
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports no score
    "RAY_worker_register_timeout_seconds": "300",  # of a busy machine: 60 s are not enough
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",  # a stopped trial that does not answer is killed
}

START_LIMITS_S = (60.0, 300.0)
"""Seconds in which a local cluster has to start, at the first try and at the second."""
LOST_AFTER_S = 10.0
"""Seconds in which no server of the cluster may be away; after 60 Ray ends the program itself."""
MIN_OPEN_FILES = 1024
"""Of each process; with fewer, Ray's servers wait for one another in vain."""
MIN_ADDRESS_SPACE = 16 << 30
"""Bytes of each process: a server of Ray maps 12 GiB on a small machine. With less they do not
start, and linear algebra waits without end for memory that it never gets."""
TOKEN, TOKEN_PATH = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
"""Environment variables from which Ray takes the cluster's token, or the file that has it."""
MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path."""


def resources_per_trial(launch: LaunchConfig) -> tuple[int, float]:
    """Return the CPUs and GPUs that one trial holds."""
    workers = launch.workers_per_trial
    return workers * launch.cpus_per_worker, workers * launch.gpus_per_worker


def local_resources() -> tuple[int, int]:
    """Return the CPUs that this process may use, all where no limit is told, and the GPUs."""
    known = hasattr(os, "sched_getaffinity")  # macOS lacks it
    cpus = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return cpus, torch.cuda.device_count()


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
    """Raise ResourceError if a local cluster is asked for that cannot run a trial here."""
    if launch.ray_address != "local":
        return
    check_resources(launch, *local_resources())
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # Ray takes as many as it may
    if most != resource.RLIM_INFINITY and most < MIN_OPEN_FILES:
        raise ResourceError(
            f"a process may have {most:,} files open here; allowed: at least {MIN_OPEN_FILES:,}, "
            "which is what Ray needs (ulimit -Hn)"
        )
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if space != resource.RLIM_INFINITY and space < MIN_ADDRESS_SPACE:
        raise ResourceError(
            f"a process may have {space / 2**30:.1f} GiB of address space here; allowed: at least "
            f"{MIN_ADDRESS_SPACE >> 30} GiB, for Ray's servers map far more than they use "
            "(ulimit -v unlimited; a control group limits what is used)"
        )


def concurrency(launch: LaunchConfig, num_trials: int, nodes: Sequence[Node]) -> int:
    """Return how many trials run at a time.

    As many as fit, unless `max_concurrent` says less; by default no more than half of the study,
    so that the other half can learn from them.
    """
    limit = launch.max_concurrent or max(1, num_trials // 2)
    return max(1, min(trials_at_once(nodes, launch), limit))


@contextlib.contextmanager
def connect(
    launch: LaunchConfig,
    say: Callable[[str], object] = lambda said: None,
    go_on: str = "give the same command again",
) -> Iterator[None]:
    """Start a local cluster, or join the one at `ray_address`, and leave it at the end.

    A local cluster listens on the loopback interface only, with a token. If the cluster is lost,
    the program ends with one sentence.

    Args:
        launch: where the cluster is, and what a trial needs of it.
        say: shows a line to the user.
        go_on: what to do after the loss of the cluster, as the end of a sentence.

    Raises:
        ResourceError: a trial does not fit, or the cluster that was named is out of reach.
        FaultError: a local cluster does not start.
    """
    local = launch.ray_address == "local"
    check_this_machine(launch)
    os.environ.update(DRIVER_ENVIRONMENT)
    set_loopback_only(local)
    logging.getLogger("ray").setLevel(logging.ERROR)
    # What Tune stores of itself is never read: a disk that is full says so elsewhere.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    session: Path | None = None
    if local:
        session = _start_local(launch, say)
    else:
        _join(launch)
    try:
        resources = ray.cluster_resources()
        check_resources(launch, resources.get("CPU", 0.0), resources.get("GPU", 0.0))
        with watched(_servers(), LOST_AFTER_S, lambda name: _end_without(name, go_on)):
            yield
    finally:
        with held_back():  # Ray would end a program that leaves it by half
            ray.shutdown()
    if session is not None:  # after a fault it stays, for its logs
        _remove_session(session)


def _servers() -> dict[str, Address]:
    """Return what this process cannot do without: the cluster's head, and its own node."""
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    own = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    return {
        "head (GCS)": (host.strip("[]"), int(port)),
        "node manager (raylet)": (own["NodeManagerAddress"], own["NodeManagerPort"]),
    }


def _end_without(server: str, go_on: str) -> None:
    end_program(f"the Ray cluster is lost: its {server} no longer answers. To fix: {go_on}")


def _remove_session(session: Path) -> None:
    """Remove the logs and sockets of a cluster that has ended, which Ray leaves for ever."""
    shutil.rmtree(session, ignore_errors=True)
    latest = session.with_name("session_latest")
    if latest.is_symlink() and not latest.exists():
        latest.unlink(missing_ok=True)


def _start_local(launch: LaunchConfig, say: Callable[[str], object]) -> Path:
    """Start a cluster on this machine, and return the folder of its logs and sockets.

    A busy machine is given a second try of more time.
    """
    options: dict[str, Any] = {
        "num_cpus": local_resources()[0],
        "include_dashboard": True,
        "dashboard_host": "127.0.0.1",
    }
    if (folder := _folder_for_sockets()) is not None:
        say(f"TMPDIR is too long a path for Ray's sockets; its files go to {folder}.")
        options["_temp_dir"] = str(folder)
    _token_without_home()
    for limit_s in START_LIMITS_S:
        before = set(psutil.Process().children(recursive=True))
        try:
            with start_limit(limit_s):
                context = _init("local", _worker_environment(launch), **options)
            break
        except KeyboardInterrupt:
            _abandon_start(before)
            raise
        except Exception as error:  # Ray raises what it meets, and Exception itself
            _abandon_start(before)
            may_succeed_later = not isinstance(error, ValueError | PermissionError)
            if limit_s == START_LIMITS_S[-1] or not may_succeed_later:
                raise FaultError(
                    f"Ray does not start on this machine ({_cause(error)}): try again when it has "
                    "less to do, or name a running cluster with --ray-address"
                ) from error
            say(f"Ray did not start ({_cause(error)}); trying again, with more time.")
    _protect_token()
    return Path(context.address_info["session_dir"])


def _folder_for_sockets() -> Path | None:
    """Return where Ray may put its files if the path that it would take is too long."""
    stamp = "session_2026-01-01_00-00-00_000000"
    socket = f"{default_folder()}/{stamp}_{os.getpid()}/sockets/plasma_store"
    return Path("/tmp/ray") if len(os.fsencode(socket)) > MAX_SOCKET_PATH else None


def _abandon_start(before: set[psutil.Process]) -> None:
    """End what a start that failed has left: the processes that were not there before."""
    ray.shutdown()
    for process in set(psutil.Process().children(recursive=True)) - before:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _join(launch: LaunchConfig) -> None:
    try:
        _init(launch.ray_address, _worker_environment(launch))
    except Exception as error:  # likewise
        ray.shutdown()
        raise ResourceError(
            f"no Ray cluster at {launch.ray_address!r} ({_cause(error)}); allowed: local, or the "
            "address of a running cluster"
        ) from error


def _cause(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _init(address: str, environment: dict[str, str], **options: Any) -> Any:
    with signals_left_to_us():
        return ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": environment},
            **options,
        )


def _worker_environment(launch: LaunchConfig) -> dict[str, str]:
    """For the processes of the trials, which hand it on to their Ray Train workers."""
    return {
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # it also paces reports
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(launch.worker_timeout_s),
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        # What one trial compiled, all trials of the runs folder load, on every node.
        "TORCHINDUCTOR_CACHE_DIR": str(Path(launch.runs_root).resolve() / ".cache" / "inductor"),
    }


def _token_without_home() -> None:
    """Give Ray a token where it cannot write its own, as in a container without a home folder."""
    if TOKEN in os.environ or TOKEN_PATH in os.environ:
        return
    path = _home_token()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writable = path.exists() or os.access(path.parent, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        os.environ[TOKEN] = secrets.token_hex(32)


def _home_token() -> Path:
    return Path.home() / ".ray" / "auth_token"


def _protect_token() -> None:
    """Ray writes its token readable by everyone; make it the user's alone."""
    path = Path(os.environ.get(TOKEN_PATH, _home_token()))
    with contextlib.suppress(OSError):
        path.chmod(0o600)
