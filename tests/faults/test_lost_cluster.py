"""A local cluster that starts slowly, or is lost while a study runs on it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.made.faults import fault
from tests.made.small import ROOT

pytestmark = pytest.mark.timeout(400)

LONG_STUDY = """
import dataclasses, sys
from pathlib import Path
from tests.made.small import small_experiment, small_study
from tests.made.studies import launch_in, run_small
experiment = small_experiment(training__num_images=2_000_000, training__warmup_images=64)
run_small(dataclasses.replace(small_study(), experiment=experiment), launch_in(Path(sys.argv[1])))
"""


def children(process: psutil.Process, name: str) -> list[psutil.Process]:
    """The processes that a driver has started, by their program's name."""
    return [child for child in process.children(recursive=True) if child.name() == name]


@fault(33, "SIGKILL to the raylet and to the GCS of a local cluster, while a trial trains")
@pytest.mark.parametrize("name", ["raylet", pytest.param("gcs_server", marks=pytest.mark.long)])
def test_loss_of_the_cluster_ends_the_study_in_a_sentence_that_says_how_to_go_on(
    tmp_path: Path, name: str
) -> None:
    command = [sys.executable, "-c", LONG_STUDY, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    errors = tmp_path / "errors"
    with errors.open("w") as file:
        driver = subprocess.Popen(command, stderr=file, cwd=tmp_path, env=environment)
    try:
        deadline = time.monotonic() + 250
        while not list(tmp_path.glob("runs/small/trials/*/training/metrics.jsonl")):
            assert driver.poll() is None and time.monotonic() < deadline, errors.read_text()
            time.sleep(0.2)
        started = psutil.Process(driver.pid).children(recursive=True)
        (victim,) = children(psutil.Process(driver.pid), name)
        victim.send_signal(signal.SIGKILL)
        assert driver.wait(timeout=60) == 1
    finally:
        driver.kill()
        driver.wait()
    last = errors.read_text().splitlines()[-1]
    assert last.startswith("error: the Ray cluster is lost")
    assert "--study-name small and --resume" in last
    _, alive = psutil.wait_procs(started, timeout=60)
    assert alive == []


# In a process of its own: Ray reads a cluster's token once in a process.
SLOW_START = """
import psutil, ray
from diffrop.execution import cluster
from diffrop.study.config import LaunchConfig
def count(name):
    return sum(child.name() == name for child in psutil.Process().children(recursive=True))
cluster.START_LIMITS_S = (0.0, 200.0)
with cluster.connect(LaunchConfig(), print):
    print(ray.cluster_resources()["CPU"] >= 1, count("gcs_server"), count("raylet"))
print(count("gcs_server"), count("raylet"))
"""


@pytest.mark.long
@fault(33, "a first try that is given no time")
def test_slow_start_is_tried_again_and_leaves_no_process() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SLOW_START],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
        check=True,
    )
    said, *counts = run.stdout.splitlines()
    assert said.startswith("Ray did not start (") and said.endswith(
        "; trying again, with more time."
    )
    assert counts == ["True 1 1", "0 0"]
