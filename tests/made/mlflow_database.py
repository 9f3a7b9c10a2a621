"""MLflow databases: creating one takes seconds, so tests copy one that is made once."""

import contextlib
import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from diffrop.tracking.tracker import Tracker


@contextlib.contextmanager
def unsynced_sqlite() -> Iterator[None]:
    """Spare the disk: most of the time of MLflow's tests would go into fsync."""

    def switch_off(connection: Any, record: Any) -> None:
        with contextlib.suppress(sqlite3.DatabaseError):  # a damaged file is MLflow's to refuse
            connection.cursor().execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", switch_off)
    yield
    event.remove(Engine, "connect", switch_off)


def write_empty_database(folder: Path) -> Path:
    """Write a database with all of MLflow's tables, as a tracker makes it: without a word."""
    path = folder / "new folder" / "mlflow.db"
    printed = io.StringIO()
    with (
        unsynced_sqlite(),
        contextlib.redirect_stderr(printed),
        contextlib.redirect_stdout(printed),
    ):
        Tracker(
            f"sqlite:///{path}",
            artifact_root=folder,
            experiment="template",
            token="template",
            launch="template",
            params={},
            tags={},
        )
    assert printed.getvalue() == ""
    return path
