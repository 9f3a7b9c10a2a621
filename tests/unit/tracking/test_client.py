import os
from pathlib import Path

import pytest
from mlflow import MlflowClient

from diffrop.tracking import client
from tests.made.mlflow_study import make_full_trial, make_tracker


def test_file_that_is_no_database_or_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database, but text")
    for path in (tmp_path / "file" / "mlflow.db", tmp_path / "file"):
        with pytest.raises(ValueError, match="allowed: an SQLite database, or a new file"):
            make_tracker(f"sqlite:///{path}", tmp_path)
    assert (tmp_path / "file").read_text() == "no database, but text"


def test_environment_is_left_as_it_was(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    tracker = make_tracker(uri, tmp_path)
    tracker.sync(make_full_trial(tmp_path))
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_runs_of_all_pages_come_oldest_first(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGE", 2)
    mlflow = MlflowClient(uri)
    experiment_id = mlflow.create_experiment("study")
    made = {time: mlflow.create_run(experiment_id, time).info.run_id for time in (3, 1, 5, 2, 4)}
    found = [run.info.run_id for run in client.all_runs(mlflow, experiment_id)]
    assert found == [made[time] for time in (1, 2, 3, 4, 5)]
