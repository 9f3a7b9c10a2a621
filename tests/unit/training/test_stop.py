import socket
from pathlib import Path

import pytest

from diffrop.training.stop import LOCAL_S, StopNotice, stop_file, withdraw_stop


def requested(directory: Path | None, driver: str = "one") -> bool:
    return StopNotice(directory, driver=driver).requested()


def test_request_reaches_a_study_a_driver_or_a_node(tmp_path: Path) -> None:
    assert not requested(tmp_path)
    stop_file(tmp_path, "one").touch()
    assert requested(tmp_path) and not requested(tmp_path, "two")
    stop_file(tmp_path).touch()
    assert requested(tmp_path, "two")
    withdraw_stop(tmp_path)
    assert not requested(tmp_path) and not list(tmp_path.iterdir())
    node = tmp_path / f"stop-{socket.gethostname()}"
    node.touch()
    withdraw_stop(tmp_path)
    assert requested(tmp_path, "two") and node.exists()  # a node's request is not the study's


def test_without_a_folder_nothing_is_requested() -> None:
    assert not requested(None)


def test_file_is_looked_for_once_a_second_and_a_request_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    notice = StopNotice(tmp_path)
    assert not notice.requested()
    stop_file(tmp_path).touch()
    assert not notice.requested()
    now += LOCAL_S
    assert notice.requested()
    withdraw_stop(tmp_path)
    assert notice.requested()
