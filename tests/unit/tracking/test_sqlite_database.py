"""MLflow's database: two that make it at once, and what damage and interruption leave."""

import multiprocessing
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from diffrop.errors import TrackingError
from diffrop.record.creation_lock import creation_lock
from diffrop.tracking import client
from diffrop.tracking.client import bounded, open_client
from diffrop.tracking.mlflow_private import revisions
from tests.made.faults import fault
from tests.made.mlflow_study import make_full_trial, make_tracker


def write_into(uri: str, name: str) -> str:
    """What a command does first in a runs folder, in a process of its own."""
    with bounded(5.0):
        mlflow = open_client(uri)
        return mlflow.create_run(mlflow.create_experiment(name)).info.status


@fault(36, "three processes that open a new MLflow database at once")
@pytest.mark.usefixtures("_unsynced_sqlite")
def test_processes_that_make_a_new_database_at_once_all_write_into_it(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/new folder/mlflow.db"
    names = ["a", "b", "c"]
    with multiprocessing.get_context("fork").Pool(len(names)) as pool:
        found = pool.starmap(write_into, [(uri, name) for name in names], chunksize=1)
    assert found == ["RUNNING"] * len(names)
    assert {known.name for known in MlflowClient(uri).search_experiments()} == {"Default", *names}
    left = sorted(path.name for path in (tmp_path / "new folder").iterdir())
    assert left == [".mlflow.db.lock", "mlflow.db"]


def test_database_that_another_process_makes_is_waited_for_and_then_left_for_later(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "CREATION_WAIT_S", 0.2)
    trial = make_full_trial(tmp_path)
    with creation_lock(uri, 0.0):
        with pytest.raises(TimeoutError, match=r"for 0\.2 s already"):
            open_client(uri)
        with pytest.warns(UserWarning, match="another process makes or upgrades the database"):
            tracker = make_tracker(uri, tmp_path)
        assert not tracker.sync(trial)
    assert tracker.close("FINISHED") == []


@fault(36, "a kill while the tables are made")
def test_killed_while_it_was_made_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(uri: str) -> None:
        with sqlite3.connect(uri.removeprefix("sqlite:///")) as connection:
            connection.execute("CREATE TABLE experiments (half INTEGER)")
        raise KeyboardInterrupt

    monkeypatch.setattr("diffrop.tracking.sqlite_database.create_database", stopped)
    with pytest.raises(KeyboardInterrupt):
        open_client(f"sqlite:///{tmp_path}/mlflow.db")
    assert [path.name for path in tmp_path.iterdir()] == [".mlflow.db.lock"]


def no_revision(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM alembic_version")


def two_revisions(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO alembic_version VALUES ('451aebb31d03')")


def newer(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE alembic_version SET version_num = 'fedcba987654'")


def a_table_is_missing(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE model_versions")


def older_but_with_the_tables(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")


@fault(47, "revisions and tables changed in the database")
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (no_revision, "is made or upgraded by half"),
        (two_revisions, "is made or upgraded by half"),
        (a_table_is_missing, "is made or upgraded by half"),
        (
            newer,
            r"has the revision fedcba987654, which MLflow 3\.\S+ does not know. To fix: install",
        ),
        (older_but_with_the_tables, r"cannot be upgraded \(.*\)\. To fix: restore it from mlflow"),
    ],
)
def test_database_that_mlflow_cannot_use_is_named_and_does_not_end_a_study(
    uri: str, tmp_path: Path, damage: Callable[[sqlite3.Connection], None], says: str
) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        damage(connection)
    before = (tmp_path / "mlflow.db").read_bytes()
    with pytest.raises(TrackingError, match=says) as caught:
        open_client(uri)
    assert str(tmp_path / "mlflow.db") in str(caught.value) and "\n" not in str(caught.value)
    with pytest.warns(UserWarning, match="MLflow's database .* To fix: "):
        tracker = make_tracker(uri, tmp_path)
    assert not tracker.sync(make_full_trial(tmp_path))
    missing = tracker.close("FINISHED")
    assert len(missing) == 2 and "To fix: " in missing[0]
    if damage is older_but_with_the_tables:
        copied = sqlite3.connect(tmp_path / "mlflow.db.before-upgrade")
        assert copied.execute("SELECT version_num FROM alembic_version").fetchall() == [
            ("451aebb31d03",)
        ]
    else:
        assert (tmp_path / "mlflow.db").read_bytes() == before


@fault(47, "an upgrade that was killed")
def test_interrupted_upgrade_is_named_until_it_is_restored(uri: str, tmp_path: Path) -> None:
    path, copy = tmp_path / "mlflow.db", tmp_path / "mlflow.db.before-upgrade"
    shutil.copy(path, tmp_path / "whole.db")
    with sqlite3.connect(path) as connection:
        older_but_with_the_tables(connection)
    copy.write_bytes(path.read_bytes())
    for _ in range(2):
        with pytest.raises(TrackingError, match=r"upgraded by half.* from mlflow\.db\.before-up"):
            open_client(uri)
    copy.unlink()
    shutil.copy(tmp_path / "whole.db", path)
    there, known = revisions(uri)
    assert there == (known[0],)
    open_client(uri)


def test_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('v3.2.0.a')")
    with pytest.raises(TrackingError, match=r"has the revision v3\.2\.0\.a, which MLflow"):
        open_client(f"sqlite:///{tmp_path}/mlflow.db")


@fault(47, "bytes that are no database")
def test_damaged_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with pytest.raises(TrackingError, match=r"is damaged \(.*\)\. To fix: restore it from a copy"):
        open_client(f"sqlite:///{tmp_path}/mlflow.db")
