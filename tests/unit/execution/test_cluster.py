import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from diffrop.errors import FaultError, ResourceError
from diffrop.execution import cluster
from diffrop.execution.cluster import check_resources, concurrency, resources_per_trial
from diffrop.study.config import LaunchConfig
from tests.made.faults import fault
from tests.made.small import ROOT

NODES = [{"CPU": 6.0, "GPU": 1.0}, {"CPU": 6.0, "GPU": 1.0}]


def test_as_many_trials_run_as_fit_but_no_more_than_half_of_the_study() -> None:
    assert concurrency(LaunchConfig(cpus_per_worker=4), 9, NODES) == 2
    assert concurrency(LaunchConfig(), 9, NODES) == 4  # half of the study
    assert concurrency(LaunchConfig(max_concurrent=3), 9, NODES) == 3
    assert concurrency(LaunchConfig(cpus_per_worker=9), 9, NODES) == 1  # it waits for room


def test_all_cpus_count_where_none_says_which_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster.local_resources()[0] == len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cluster.local_resources()[0] == 12


@fault(19, "workers beyond the machine's CPUs and GPUs")
def test_trial_that_does_not_fit_is_refused_with_both_numbers() -> None:
    launch = LaunchConfig(workers_per_trial=2, cpus_per_worker=4, gpus_per_worker=1.0)
    assert resources_per_trial(launch) == (8, 2.0)
    check_resources(launch, cpus=8, gpus=2)
    with pytest.raises(ResourceError, match=r"2 worker\(s\) needs 8 CPUs, and there are 6"):
        check_resources(launch, cpus=6, gpus=2)
    with pytest.raises(ResourceError, match="needs 2 GPUs, and there are 1"):
        check_resources(launch, cpus=8, gpus=1)


@pytest.mark.parametrize(
    ("limited", "least"),
    [(resource.RLIMIT_NOFILE, 1_024), (resource.RLIMIT_AS, 16 << 30)],
    ids=["files", "memory"],
)
def test_limits_of_a_process_count_where_a_local_cluster_is_to_start(
    limited: int, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limit_to(most: int) -> None:
        unlimited = resource.RLIM_INFINITY
        monkeypatch.setattr(
            resource,
            "getrlimit",
            lambda which: (most, most) if which == limited else (unlimited, unlimited),
        )

    for most in (resource.RLIM_INFINITY, least):
        limit_to(most)
        cluster.check_this_machine(LaunchConfig())
    limit_to(least - 1)
    cluster.check_this_machine(LaunchConfig(ray_address="10.0.0.1:6379"))
    with pytest.raises(ResourceError):
        cluster.check_this_machine(LaunchConfig())


@fault(50, "commands that may open 256 files, or map 4 GiB")
@pytest.mark.parametrize(
    ("limited", "least", "sentence"),
    [
        (
            "resource.RLIMIT_NOFILE",
            256,
            "error: a process may have 256 files open here; allowed: at least 1,024",
        ),
        (
            "resource.RLIMIT_AS",
            4 << 30,
            "error: a process may have 4.0 GiB of address space here; allowed: at least 16 GiB",
        ),
    ],
    ids=["files", "memory"],
)
def test_command_that_is_limited_too_much_is_refused_and_leaves_nothing(
    limited: str, least: int, sentence: str, tmp_path: Path
) -> None:
    program = (
        f"import resource, runpy, sys; resource.setrlimit({limited}, ({least}, {least})); "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    script = str(ROOT / "studies" / "run_tau_sweep.py")
    run = subprocess.run(
        [sys.executable, "-c", program, script, "--extractor", "tests.made.small:RowBrightness"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith(sentence)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("home", ["missing", "kept", "writable"])
def test_ray_is_given_a_token_where_it_cannot_write_its_own(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/proc/nohome" if home == "missing" else str(tmp_path))
    for name in (cluster.TOKEN, cluster.TOKEN_PATH):
        monkeypatch.delenv(name, raising=False)
    if home == "kept":
        monkeypatch.setenv(cluster.TOKEN_PATH, "/etc/ray-token")
    cluster._token_without_home()
    given = os.environ.pop(cluster.TOKEN, None)
    assert (given is not None) == (home == "missing")
    assert given is None or len(bytes.fromhex(given)) == 32


def test_slow_start_is_tried_again_with_more_time_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    limits: list[float] = []

    @contextlib.contextmanager
    def start_limit(limit_s: float) -> Iterator[None]:
        limits.append(limit_s)
        yield

    def init(address: str, environment: object, **options: object) -> SimpleNamespace:
        started.append(subprocess.Popen(["sleep", "600"]))
        if len(started) == 1:
            raise Exception("The current node timed out during startup. This could happen")
        return SimpleNamespace(address_info={"session_dir": "/tmp/ray/session_of_the_second"})

    monkeypatch.setattr(cluster, "start_limit", start_limit)
    monkeypatch.setattr(cluster, "_init", init)
    monkeypatch.setattr(cluster, "_protect_token", lambda: None)
    said: list[str] = []
    session = cluster._start_local(LaunchConfig(), said.append)
    try:
        assert session == Path("/tmp/ray/session_of_the_second")
        assert started[0].wait(timeout=10) == -signal.SIGKILL
        assert started[1].poll() is None
        assert limits[1] > limits[0]
        assert "timed out during startup" in said[-1]
    finally:
        started[1].kill()
        started[1].wait()


@pytest.mark.parametrize("fails", [False, True])
def test_folder_of_the_session_is_removed_unless_its_logs_may_tell_of_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: bool
) -> None:
    mine, others = tmp_path / "session_1", tmp_path / "session_2"
    for session in (mine, others):
        (session / "logs").mkdir(parents=True)
    (tmp_path / "session_latest").symlink_to(mine)
    stopped: list[str] = []
    monkeypatch.setattr(cluster, "_start_local", lambda launch, say: mine)
    monkeypatch.setattr(cluster.ray, "cluster_resources", lambda: {"CPU": 64.0, "GPU": 8.0})
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: stopped.append("ray"))
    monkeypatch.setattr(cluster, "_servers", dict)
    monkeypatch.setattr(cluster, "check_this_machine", lambda launch: None)
    with (
        pytest.raises(KeyError) if fails else contextlib.nullcontext(),
        cluster.connect(LaunchConfig()),
    ):
        if fails:
            raise KeyError
    assert stopped == ["ray"]
    kept = {"session_1", "session_2", "session_latest"} if fails else {"session_2"}
    assert {path.name for path in tmp_path.iterdir()} == kept


@pytest.mark.parametrize("error", [OSError("no room"), Exception("a\nb"), RuntimeError()])
def test_cluster_that_never_starts_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def init(address: str, environment: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(cluster, "_init", init)
    with pytest.raises(FaultError, match=r"^Ray does not start on this machine \(.+\): try"):
        cluster._start_local(LaunchConfig(), lambda said: None)
    with pytest.raises(ResourceError, match=r"^no Ray cluster at '1\.2\.3\.4:5' \(.+\); allowed"):
        cluster._join(LaunchConfig(ray_address="1.2.3.4:5"))


@pytest.mark.parametrize(("length", "too_long"), [(10, False), (200, True)])
def test_socket_folder_is_another_where_tmpdir_is_too_long(
    monkeypatch: pytest.MonkeyPatch, length: int, too_long: bool
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/" + "t" * length)
    assert (cluster._folder_for_sockets() is not None) == too_long
