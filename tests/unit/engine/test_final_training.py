import contextlib
import os
import queue
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.train import TrainingFailedError

from diffrop.console.screens import QuietScreen
from diffrop.engine import final_training as final
from diffrop.engine.final_training import FinalResult, train_final
from diffrop.errors import StudyError
from diffrop.scoring.samples import ScoringInputs
from diffrop.study.config import LaunchConfig
from diffrop.training import stop
from diffrop.training.session import TrainingSession
from tests.made.small import small_experiment, small_inputs


class NoTracker:
    """Takes the place of MLflow, and keeps how the launch ended."""

    ended = ""

    def sync(self, trial: object) -> None:
        """Log nothing."""

    def close(self, state: str) -> list[str]:
        """Keep the state."""
        self.ended = state
        return []


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> NoTracker:
    found = NoTracker()
    monkeypatch.setattr(final, "open_tracker", lambda *_: found)
    return found


@pytest.fixture
def train(tmp_path: Path, tracker: NoTracker) -> Callable[[], FinalResult]:
    inputs: ScoringInputs = small_inputs()
    launch = LaunchConfig(runs_root=str(tmp_path))
    screen = QuietScreen()
    return lambda: train_final(small_experiment(), inputs, tmp_path / "final", launch, screen)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_training_after_a_checkpoint_and_it_goes_on_from_there(
    train: Callable[[], FinalResult],
    tracker: NoTracker,
    tmp_path: Path,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach = TrainingSession.reach

    def reach_after_signal(session: TrainingSession, images: int) -> object:
        os.kill(os.getpid(), number)
        while not (tmp_path / "final/stop").exists():
            pass  # the main thread handles it
        return reach(session, images)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingSession, "reach", reach_after_signal)
        patch.setattr(stop, "LOCAL_S", 0.0)  # the training is shorter than a second
        stopped = train()
    assert stopped.interrupted and stopped.card is None and stopped.failure == ""
    assert tracker.ended == "KILLED"
    assert list((tmp_path / "final/training").glob("images_*.safetensors"))
    resumed = train()
    assert resumed.card is not None and resumed.card.images_seen == 128


def test_folder_of_another_training_is_refused(
    train: Callable[[], FinalResult], tracker: NoTracker, tmp_path: Path
) -> None:
    train()
    before = sorted(path for path in tmp_path.rglob("*"))
    launch, screen = LaunchConfig(runs_root=str(tmp_path)), QuietScreen()
    other = small_experiment().with_values({"training.learning_rate": 0.5})
    with pytest.raises(StudyError, match=r"another training: training\.learning_rate .* -> 0\.5;"):
        train_final(other, small_inputs(), tmp_path / "final", launch, screen)
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert train().card is not None


def test_stale_stop_does_not_stop_a_training(
    train: Callable[[], FinalResult], tracker: NoTracker, tmp_path: Path
) -> None:
    (tmp_path / "final").mkdir()
    (tmp_path / "final/stop").touch()
    found = train()
    assert found.card is not None and not found.interrupted
    assert tracker.ended == "FINISHED"


def test_error_of_a_training_is_raised_here(
    train: Callable[[], FinalResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("wrong")

    monkeypatch.setattr(final, "run_task", fail)
    with pytest.raises(ValueError, match="wrong"):
        train()


class HereQueue(queue.Queue[dict[str, Any]]):
    """Takes the place of Ray's queue, which is a process of its own."""

    def __init__(self, actor_options: object) -> None:
        super().__init__()


@pytest.mark.parametrize(
    ("told", "failure", "interrupted"),
    [
        ({"failure": "loss is not finite at 64 images_seen"}, "loss is not finite", False),
        ({"stopped": True}, "", True),
        (TrainingFailedError("Trace:\nNo: disk"), "failed more than 2 times: No: disk", False),
    ],
)
def test_several_workers_tell_why_they_ended(
    told: Any,
    failure: str,
    interrupted: bool,
    tmp_path: Path,
    tracker: NoTracker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def work(*args: Any) -> None:
        (callback,) = args[-1]
        if isinstance(told, Exception):
            raise told
        callback.after_report(None, [told, told], None)

    monkeypatch.setattr(final, "run_task", work)
    monkeypatch.setattr(final, "Queue", HereQueue)
    monkeypatch.setattr(final.cluster, "connect", lambda *args: contextlib.nullcontext(args))
    launch = LaunchConfig(runs_root=str(tmp_path), workers_per_trial=2)
    screen = QuietScreen()
    found = train_final(small_experiment(), small_inputs(), tmp_path / "final", launch, screen)
    assert found.card is None and found.interrupted == interrupted
    assert failure in found.failure and bool(found.failure) == bool(failure)
    assert tracker.ended == ("KILLED" if interrupted else "FAILED")
