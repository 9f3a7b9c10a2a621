from pathlib import Path
from typing import Any

import pytest

from diffrop.errors import NonFiniteError, OutOfMemoryError, StopRequested
from diffrop.execution import run_task as module
from diffrop.execution.run_task import QueueCallback, run_task
from diffrop.record.trial_state import Failed, RungReached, Stopped, TrialReport
from diffrop.study.config import LaunchConfig
from tests.made.small import small_inputs, small_task


@pytest.mark.parametrize(
    ("error", "report"),
    [
        (StopRequested("stopped at 32 images"), Stopped()),
        (NonFiniteError("the loss is NaN"), Failed(message="the loss is NaN")),
        (OutOfMemoryError("lower batch_size"), Failed(message="lower batch_size")),
    ],
)
def test_what_a_restart_would_repeat_is_reported_and_not_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, report: TrialReport
) -> None:
    first = RungReached(images_seen=64, final=False)

    def fail(task: object, inputs: object, device: object, tell: Any, *_: object) -> None:
        tell(first)
        raise error

    monkeypatch.setattr(module, "run_trial", fail)
    found: list[TrialReport] = []
    task = small_task(tmp_path / "small/t000")
    run_task(task, small_inputs(), LaunchConfig(), found.append, str(tmp_path), "run", [])
    assert found == [first, report]


def test_other_errors_are_raised_for_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(module, "run_trial", fail)
    task = small_task(tmp_path / "small/t000")
    with pytest.raises(RuntimeError, match="a fault"):
        run_task(task, small_inputs(), LaunchConfig(), print, str(tmp_path), "run", [])


def test_callback_passes_on_what_the_first_worker_reported() -> None:
    class Kept:
        def __init__(self) -> None:
            self.found: list[dict[str, int]] = []

        def put(self, result: dict[str, int]) -> None:
            """Keep it."""
            self.found.append(result)

    kept = Kept()
    QueueCallback(kept).after_report(None, [{"rank": 0}, {"rank": 1}], None)  # type: ignore[arg-type]
    assert kept.found == [{"rank": 0}]
