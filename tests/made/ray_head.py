"""A Ray cluster for a test module, in processes of its own."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import ray
from ray._raylet import Config, node_ip_address_from_perspective


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def node_ip() -> str:
    """The address that Ray gives this machine; it turns 127.0.0.1 into it."""
    found: str = node_ip_address_from_perspective(None)
    return found


@contextlib.contextmanager
def ray_head(folder: Path, num_cpus: int) -> Iterator[str]:
    """Start a head node with so many logical CPUs, a dashboard and a token; yield its address."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # Ray reads it only once
    Config.initialize("")  # Ray read the environment when it was imported
    port = free_port()
    command = [
        str(Path(sys.executable).parent / "ray"),
        "start",
        "--head",
        "--block",
        f"--port={port}",
        f"--num-cpus={num_cpus}",
        "--include-dashboard=true",
        f"--dashboard-port={free_port()}",
        "--disable-usage-stats",
    ]
    environment = {**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
    with (folder / "head.log").open("w") as log:
        head = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            _wait_for(port, head)
            yield f"{node_ip()}:{port}"
        finally:
            everyone = [head, *psutil.Process(head.pid).children(recursive=True)]
            for process in everyone:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            head.wait(timeout=60)


def _wait_for(port: int, head: "subprocess.Popen[bytes]") -> None:
    """Wait until the node can be joined: its port is open long before, on a busy machine."""
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        assert head.poll() is None, "the head node ended"
        with socket.socket() as probe:
            is_open = probe.connect_ex(("127.0.0.1", port)) == 0
        with contextlib.suppress(ConnectionError, RuntimeError):
            if is_open:
                address = f"{node_ip()}:{port}"
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
                ray.shutdown()
                return
        time.sleep(0.5)
    raise AssertionError("the head node did not start")


def wait_until_free(address: str, deadline_s: float = 60) -> dict[str, float]:
    """Return what is in use of the cluster's CPUs and GPUs once nothing is, or at the deadline."""
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    try:
        end = time.monotonic() + deadline_s
        while True:
            total, free = ray.cluster_resources(), ray.available_resources()
            used = {
                name: total[name] - free.get(name, 0) for name in ("CPU", "GPU") if name in total
            }
            used = {name: count for name, count in used.items() if count > 0}
            if not used or time.monotonic() > end:
                return used
            time.sleep(0.5)
    finally:
        ray.shutdown()
