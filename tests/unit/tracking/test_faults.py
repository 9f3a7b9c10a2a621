import dataclasses
import socket
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tests.made.faults import fault
from tests.made.mlflow_study import (
    CANARY,
    add_checkpoint,
    history,
    make_full_trial,
    make_tracker,
    models_of,
    runs_of,
)


def closed_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def run_launch_against_dead_server(uri: str, tmp_path: Path) -> tuple[float, list[str], list[str]]:
    """Seconds, what is missing, and the warnings of a launch with two trials."""
    start = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tracker = make_tracker(uri, tmp_path, timeout_s=1.0)
        for number in (7, 8):
            tracker.sync(make_full_trial(tmp_path, number))
        (tmp_path / "trials.csv").write_text("a")
        tracker.log_report([tmp_path / "trials.csv"])
        missing = tracker.close("FINISHED")
    return time.monotonic() - start, missing, [str(item.message) for item in caught]


@fault(18, "a port where nobody listens")
def test_dead_port_costs_seconds_and_one_warning(tmp_path: Path) -> None:
    uri = f"http://user:{CANARY}@127.0.0.1:{closed_port()}"
    seconds, missing, warned = run_launch_against_dead_server(uri, tmp_path)
    assert seconds < 5
    assert len(warned) == 1
    assert "cannot log the launch to MLflow at http://***@127.0.0.1" in warned[0]
    assert len(missing) == 4
    for what in ("the launch", "trial 7", "trial 8", f"the artifact {tmp_path}/trials.csv"):
        assert any(sentence.startswith(f"{what} is not completely") for sentence in missing)
    assert CANARY not in "".join(missing + warned)


@fault(18, "a server that never answers")
def test_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []
        threading.Thread(target=accept_all, args=(server, accepted), daemon=True).start()
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        seconds, missing, warned = run_launch_against_dead_server(uri, tmp_path)
        server.shutdown(socket.SHUT_RDWR)
    assert accepted, "nobody called"
    assert 1 < seconds < 8  # a timeout of 1 s in the constructor, and one more in close
    assert len(warned) == 1
    assert len(missing) == 4


def accept_all(server: socket.socket, accepted: list[socket.socket]) -> None:
    while True:
        try:
            accepted.append(server.accept()[0])
        except OSError:
            return


DOWN = MlflowException(f"API request to http://u:{CANARY}@host/api failed")
RESET = requests.ConnectionError("connection reset by peer")


@fault(18, "a server that fails for a while")
@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("log_batch", DOWN),
        ("create_run", RESET),
        ("log_artifacts", RESET),
        ("create_logged_model", DOWN),
        ("finalize_logged_model", DOWN),
    ],
)
def test_everything_is_present_after_the_server_recovered(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception
) -> None:
    monkeypatch.setattr("diffrop.tracking.tracker.BACK_OFF_S", 0.0)
    real: Callable[..., Any] = getattr(MlflowClient, method)
    calls = iter(range(1000))

    def flaky(*args: Any, **kwargs: Any) -> Any:
        """Fail twice, the second time only after the request was carried out."""
        call = next(calls)
        if call == 1:
            real(*args, **kwargs)
        if call < 2:
            raise error
        return real(*args, **kwargs)

    trials = [make_full_trial(tmp_path, number) for number in (7, 8)]
    monkeypatch.setattr(MlflowClient, method, flaky)
    with pytest.warns(UserWarning, match="nothing is lost") as caught:
        tracker = make_tracker(uri, tmp_path)
        for trial in (dataclasses.replace(trials[0], state="RUNNING"), *trials):
            tracker.sync(trial)
        assert tracker.close("FINISHED") == []
    ours = [str(item.message) for item in caught if item.category is UserWarning]
    assert len(ours) == 1
    assert CANARY not in ours[0]
    [parent], children = runs_of(uri)
    assert parent.info.status == "FINISHED"
    for run in children.values():
        assert run.info.status == "FINISHED"
        assert {step for step, _, _ in history(uri, run, "loss/ddpm")} == {64, 128, 192}
        assert len(MlflowClient(uri).list_artifacts(run.info.run_id, "images")) == 4
    assert sorted(children) == ["7", "8"]
    assert len(models_of(uri)) == 2


def test_after_a_fault_mlflow_is_left_alone_for_a_while(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = make_tracker(uri, tmp_path)
    calls = []

    def fail(*args: Any, **kwargs: Any) -> None:
        calls.append(1)
        raise MlflowException("down")

    monkeypatch.setattr(MlflowClient, "log_batch", fail)
    with pytest.warns(UserWarning, match="down"):
        trial = make_full_trial(tmp_path)
        for _ in range(5):
            tracker.sync(trial)
    assert len(calls) == 1


def test_damaged_file_of_one_trial_does_not_hold_up_the_others(uri: str, tmp_path: Path) -> None:
    tracker = make_tracker(uri, tmp_path)
    damaged = make_full_trial(tmp_path, 7)
    damaged.folder.score_path(192).write_text('{"images_seen": 1')
    cut = make_full_trial(tmp_path, 9)
    checkpoint = add_checkpoint(cut, 192)
    checkpoint.write_bytes(checkpoint.read_bytes()[:20])
    with pytest.warns(UserWarning) as caught:
        tracker.sync(damaged)
        tracker.sync(cut)
        tracker.sync(make_full_trial(tmp_path, 8))
        missing = tracker.close("FINISHED")
    assert ["trial 7" in str(w.message) for w in caught] == [True, False]
    assert ["trial 9" in str(w.message) for w in caught] == [False, True]
    assert len(missing) == 2
    assert "trial 7" in missing[0] and "cannot read" in missing[0]
    _, children = runs_of(uri)
    assert children["7"].info.status == "FINISHED"
    assert len(history(uri, children["7"], "loss/ddpm")) == 3
    assert len(history(uri, children["8"], "fid/few")) == 1
    assert [model.name for model in models_of(uri)] == ["t008"]


def test_missing_study_artifact_is_reported(uri: str, tmp_path: Path) -> None:
    tracker = make_tracker(uri, tmp_path)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "fid.png").write_bytes(b"png")
    with pytest.warns(UserWarning, match="does not exist"):
        tracker.log_report([tmp_path / "gone.html", tmp_path / "figures"])
    [sentence] = tracker.close("FINISHED")
    assert "gone.html does not exist" in sentence
    [parent], _ = runs_of(uri)
    found = MlflowClient(uri).list_artifacts(parent.info.run_id, "report/figures")
    assert [item.path for item in found] == ["report/figures/fid.png"]
