"""Databases lie in the folder that was named, whatever it is called."""

import contextlib
import sqlite3
import stat
from pathlib import Path

import pytest
from mlflow import MlflowClient

from diffrop.record.study_store import StudyStore
from diffrop.sqlite_file import mlflow_url, read_only_url, sqlite_url
from diffrop.study.config import LaunchConfig
from diffrop.tracking.client import prepare_sqlite
from diffrop.tracking.launch import tracking_uri
from diffrop.tracking.uri import checked_uri
from tests.made.mlflow_database import unsynced_sqlite
from tests.made.small import small_study

NAMES = [
    "plain",
    "two words",
    "run #1",
    "why?",
    "why?mode=ro",
    "a%41",
    "a%20b",
    "100%",
    "{user}",
    "{0!r}",
    "a@b:c",
    "über 画像 🙂",
    "x" * 200,
]


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_study_database_lies_where_it_was_asked_for(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffrop.record.study_store.git_changes", lambda: b"")
    root = tmp_path / name
    store, launch = StudyStore(root, "s"), LaunchConfig(runs_root=str(root))
    store.create(small_study(), "command", launch, {})
    made = ("study.db", "study.yaml", "identity.json", "launches.jsonl")
    assert files_in(tmp_path) == {f"{name}/s/{file}" for file in made}
    assert list(tmp_path.iterdir()) == [root]
    with store.open_read_only(None) as study:
        assert study.study_name == "s"
    with contextlib.closing(sqlite3.connect(root / "s/study.db")) as connection:
        (found,) = connection.execute("SELECT study_name FROM studies").fetchone()
    assert found == "s"


@pytest.mark.parametrize("name", NAMES)
def test_urls_lead_back_to_their_file(tmp_path: Path, name: str) -> None:
    import sqlalchemy

    path = tmp_path / name / "x.db"
    path.parent.mkdir()
    for url in (sqlite_url(path), mlflow_url(path), checked_uri(mlflow_url(path))):
        assert sqlalchemy.make_url(url).database == str(path)
        with sqlalchemy.create_engine(url).begin() as connection:
            connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS t (x)")
    with sqlalchemy.create_engine(read_only_url(path)).connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0
        with pytest.raises(sqlalchemy.exc.OperationalError, match="readonly"):
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    assert files_in(tmp_path) == {f"{name}/x.db"}


def test_mlflow_writes_into_the_folder_of_the_runs_alone(tmp_path: Path) -> None:
    root = tmp_path / "a b%20c #1 why? {user} ü"
    uri = checked_uri(tracking_uri(LaunchConfig(runs_root=str(root))))
    with unsynced_sqlite():
        prepare_sqlite(uri)
        assert MlflowClient(uri).search_experiments()
    assert list(tmp_path.iterdir()) == [root]
    assert files_in(root) == {"mlflow.db"}
    assert stat.S_IMODE((root / "mlflow.db").stat().st_mode) == 0o600
