"""Trials of several workers, on a cluster that was there before."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ray_head import ray_head, wait_until_free
from tests.small import small_study
from tests.studies import launch_in, run_small, states

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ray_head(tmp_path_factory.mktemp("head"), num_cpus=4) as found:
        yield found


def curve(directory: Path, measure: str) -> list[float]:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)[measure] for line in lines if measure in json.loads(line)]


def test_two_worker_trials_are_pruned_and_free_every_cpu(address: str, tmp_path: Path) -> None:
    launch = launch_in(tmp_path, ray_address=address, workers_per_trial=2, max_concurrent=2)
    finished = run_small(small_study(num_trials=6), launch)
    found = states(finished)
    assert found[0] == "COMPLETE"
    assert set(found) == {"COMPLETE", "PRUNED"}
    pruned = [trial for trial in finished.result.trials if trial.state == "PRUNED"]
    assert all(trial.card is not None and trial.card.images_seen == 64 for trial in pruned)
    assert wait_until_free(address) == {}


def test_two_workers_give_one_workers_losses_and_scores(address: str, tmp_path: Path) -> None:
    config = small_study("pair", num_trials=2, prune=False)
    results = {}
    for workers in (1, 2):
        launch = launch_in(
            tmp_path / str(workers), ray_address=address, workers_per_trial=workers,
            max_concurrent=1,
        )  # fmt: skip
        results[workers] = run_small(config, launch)
        assert states(results[workers]) == ["COMPLETE", "COMPLETE"]
    for one, two in zip(results[1].result.trials, results[2].result.trials, strict=True):
        assert one.values == two.values
        for measure in ("loss/ddpm", "loss/pcl", "grad_norm", "pcl/grad_ratio"):
            expected = curve(one.directory, measure)
            assert curve(two.directory, measure) == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert one.card is not None and two.card is not None
        assert two.card.value == pytest.approx(one.card.value, rel=1e-3)
    contrastive = results[2].result.trials[1].directory
    assert len(curve(contrastive, "loss/pcl")) == 4
