"""Studies of format 3 that an earlier version left: resumed, they end as they did there."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diffrop.record.study_folder import StudyFolder
from diffrop.record.study_store import StudyStore
from diffrop.study.config import LaunchConfig
from tests.made.format_3 import described, differing, expected_of, unpack
from tests.made.ray_head import ray_head
from tests.made.studies import run_small

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ray_head(tmp_path_factory.mktemp("head"), num_cpus=1) as found:
        yield found


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("format_3"))


@pytest.mark.parametrize(
    ("name", "launched"),
    [("finished", {"confirm": 1, "confirm_seeds": 2}), ("half_done", {})],
)
def test_resumed_study_ends_as_it_did(
    unpacked: Path, address: str, name: str, launched: dict[str, Any]
) -> None:
    expected = expected_of(unpacked)
    wanted = expected["after"][name]
    runs = unpacked / "runs"
    config = StudyStore(runs, name).read_config()
    config = dataclasses.replace(config, num_trials=wanted["study_config"]["num_trials"])
    launch = LaunchConfig(
        runs_root=str(runs), ray_address=address, max_concurrent=1, resume=True, **launched
    )
    result = run_small(config, launch).result
    found = described(StudyFolder(runs / name), result)
    del wanted["launch_config"]
    for number, row in wanted["trials"].items():
        if expected["before"][name]["trials"].get(number, {}).get("state") in (None, "RUNNING"):
            # Trained here, with exact tables of the noise: other weights, under another key.
            assert found["trials"][number]["training_key"] != row.pop("training_key")
    if order(found["trials"]) != order(wanted["trials"]):  # this processor breaks an exact tie
        for rung in wanted["fidelity"]["rungs"]:
            del rung["tau"], rung["low"], rung["high"]
    assert differing(found, wanted, rel=1e-3) == []


def order(trials: dict[str, Any]) -> list[list[bool]]:
    """Return of which trials one is below another, at each rung: all that agreement depends on."""
    rungs = sorted({images for row in trials.values() for images in row["rungs"] or ()})
    scores = [
        [row["rungs"][images]["values"][0] for row in trials.values() if images in row["rungs"]]
        for images in rungs
    ]
    return [[a < b for a in values for b in values] for values in scores]
