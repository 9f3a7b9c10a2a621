"""What a launch does around its stages, without a cluster."""

import dataclasses
from pathlib import Path

import pytest

from diffrop.search import engine
from diffrop.search.drivers import StopSignal
from tests.small import small_study
from tests.studies import launch_in, run_small


def test_weights_are_swept_by_the_last_driver_to_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[str] = []
    monkeypatch.setattr(engine, "_run_stages", lambda *args: None)
    monkeypatch.setattr(engine, "sweep", lambda result, launch, store: swept.append(store.name))
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    launch = launch_in(tmp_path, storage=storage, keep_trials=1)
    folder = run_small(small_study(), launch).directory
    assert swept == ["small"]
    another = folder / "drivers/elsewhere-1-abc"
    another.touch()
    (folder / "stop").touch()
    resumed = dataclasses.replace(launch, resume=True)
    run_small(small_study(), resumed)
    assert swept == ["small"] and (folder / "stop").exists()  # both are the other one's, too
    another.unlink()
    assert not run_small(small_study(), resumed).interrupted
    assert swept == ["small", "small"]
    assert not (folder / "stop").exists()


def test_request_by_hand_goes_with_the_last_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*args: object) -> None:
        stop = args[-1]
        assert isinstance(stop, StopSignal) and not stop.given
        (tmp_path / "runs/small/stop").touch()

    monkeypatch.setattr(engine, "_run_stages", asked)
    found = run_small(small_study(), launch_in(tmp_path))
    assert found.interrupted and not (found.directory / "stop").exists()
