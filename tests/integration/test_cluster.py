"""A study on three nodes with a token; one of them is lost while its trial runs."""

import contextlib
import dataclasses
import os
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray._raylet import Config
from ray.cluster_utils import Cluster

from diffrop.engine.run import FinishedStudy
from diffrop.training.store import CheckpointStore
from tests.made.faults import fault
from tests.made.small import small_experiment, small_study
from tests.made.studies import launch_in, run_small, states

pytestmark = pytest.mark.timeout(400)
IMAGES = 6_144
# Long enough that the loss of a node comes in the midst of it.
CONFIG = dataclasses.replace(
    small_study(scheduler="none"),
    experiment=small_experiment(
        training__num_images=IMAGES, training__checkpoint_every_images=256
    ),
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without CPUs, and two nodes with one each."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # Ray reads it only once
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "1"
    Config.initialize("")  # Ray read the environment when it was imported
    head = {"num_cpus": 0, "include_dashboard": True, "dashboard_host": "127.0.0.1"}
    made = Cluster(initialize_head=True, head_node_args=head)
    made.workers = [made.add_node(num_cpus=1) for _ in range(2)]
    yield made
    with contextlib.suppress(Exception):  # a node that is gone cannot be killed again
        made.shutdown()


def lose_a_node(cluster: Cluster, store: CheckpointStore, lost: list[str]) -> None:
    """Take a node away once both trials have saved a checkpoint."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        begun = [folder for folder in store.folders() if folder.files()]
        if len(begun) >= 2:
            cluster.remove_node(cluster.workers[0], allow_graceful=False)
            lost.extend(folder.key for folder in begun)
            return
        time.sleep(0.2)


@pytest.fixture(scope="module")
def finished(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FinishedStudy, list[str]]:
    folder, lost = tmp_path_factory.mktemp("study"), []
    store = CheckpointStore(folder / "runs" / "checkpoints")
    watcher = threading.Thread(target=lose_a_node, args=(cluster, store, lost))
    watcher.start()
    launch = launch_in(folder, ray_address=cluster.address, max_concurrent=2)
    result = run_small(CONFIG, launch)
    watcher.join()
    return result, lost


def test_study_ends_whole_although_a_node_is_lost(
    finished: tuple[FinishedStudy, list[str]],
) -> None:
    study, lost = finished
    assert len(lost) == 2, "no node was taken away in time"
    assert states(study) == ["COMPLETE"] * 3
    assert [trial.number for trial in study.result.trials] == [0, 1, 2]


@fault(6, "a node removed without grace")
def test_trial_of_the_lost_node_went_on_from_its_checkpoint(
    finished: tuple[FinishedStudy, list[str]],
) -> None:
    study, _ = finished
    store = CheckpointStore(study.directory.parent / "checkpoints")
    for trial in study.result.trials:
        segments = store.folder(trial.training_key).record.segments()
        trained = sum(segment.end - segment.begin for segment in segments)
        # What is trained twice is less than what lies between two checkpoints.
        assert IMAGES <= trained <= IMAGES + 256
        assert trial.card is not None and trial.card.images_seen == IMAGES


@fault(25, "a request without the token")
def test_cluster_refuses_who_has_no_token(cluster: Cluster) -> None:
    nodes: list[dict[str, Any]] = []
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        dashboard = ray._private.worker.get_dashboard_url()
    finally:
        ray.shutdown()
    assert len(nodes) == 2
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://{dashboard}/api/jobs/", timeout=20)
    assert refused.value.code in (401, 403)
