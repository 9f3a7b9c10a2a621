import contextlib
import io
import shutil
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from diffrop.tracking import Tracker


@pytest.fixture(scope="package")
def _unsynced_sqlite() -> Iterator[None]:
    """Spare the disk: most of these tests' time would go into fsync."""

    def switch_off(connection: Any, record: Any) -> None:
        with contextlib.suppress(sqlite3.DatabaseError):  # a damaged file is MLflow's to refuse
            connection.cursor().execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", switch_off)
    yield
    event.remove(Engine, "connect", switch_off)


@pytest.fixture(scope="package")
def empty_database(_unsynced_sqlite: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, copied by each test: the migrations take seconds, without a word."""
    folder = tmp_path_factory.mktemp("template")
    path = folder / "new folder" / "mlflow.db"
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
        Tracker(
            f"sqlite:///{path}",
            artifact_root=folder,
            experiment="template",
            launch="template",
            params={},
            tags={},
        )
    assert printed.getvalue() == ""
    return path


@pytest.fixture
def uri(tmp_path: Path, empty_database: Path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
