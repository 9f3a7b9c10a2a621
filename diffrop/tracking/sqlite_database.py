"""MLflow's SQLite database: made whole or not at all, upgraded with a copy beside it."""

import contextlib
import sqlite3
from pathlib import Path

import mlflow
from sqlalchemy.exc import DatabaseError, OperationalError

from diffrop.errors import TrackingError
from diffrop.file_rights import create_private
from diffrop.sqlite_file import database_file, sqlite_url
from diffrop.storage import written_atomically
from diffrop.tracking.mlflow_private import (
    create_database,
    has_all_tables,
    revisions,
    upgrade_database,
)


def prepare_sqlite(uri: str) -> None:
    """Make the database, or upgrade it to the installed MLflow; the caller holds the lock.

    Raises:
        TrackingError: it is damaged, of a newer MLflow or of another program, or its
            making or its upgrade was interrupted.
        OSError, sqlalchemy.exc.SQLAlchemyError: it cannot be written, or another process locks it.
    """
    path = database_file(uri)
    if not path.exists() or path.stat().st_size == 0:
        _create(path)
    try:
        there, known = revisions(uri)
        if there == (known[0],) and has_all_tables(uri):
            return
    except OperationalError:  # such as a lock: it passes
        raise
    except DatabaseError as error:
        cause = str(error.orig or error)
        raise _unusable(path, f"is damaged ({cause})", _restore(path)) from error
    if len(there) == 1 and there[0] in known[1:]:
        _upgrade(uri, path)
    elif len(there) == 1 and there[0] not in known:
        raise _unusable(
            path,
            f"has the revision {there[0]}, which MLflow {mlflow.__version__} does not know",
            "install the newer version of MLflow that wrote it, or name another database",
        )
    else:
        what = "is made or upgraded by half, as two programs at once or a kill leave it"
        raise _unusable(path, what, _restore(path))


def _create(path: Path) -> None:
    """Make a new database under another name, so that nobody ever sees half of it."""
    with written_atomically(path) as temporary:
        create_private(temporary)
        create_database(sqlite_url(temporary))


def _upgrade(uri: str, path: Path) -> None:
    """Upgrade the database; a copy stays beside it unless that went well."""
    copy = _copy_of(path)
    if copy.exists():
        raise _unusable(path, "is upgraded by half, since that was interrupted", _restore(path))
    with written_atomically(copy) as temporary:
        create_private(temporary)
        with (
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(temporary)) as target,
        ):
            source.backup(target)
    try:
        upgrade_database(uri)
    except Exception as error:  # MLflow's, Alembic's or SQLAlchemy's, as the damage may be
        cause = str(getattr(error, "orig", None) or error).partition("\n")[0]
        raise _unusable(path, f"cannot be upgraded ({cause})", _restore(path)) from error
    copy.unlink()


def _copy_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.before-upgrade")


def _restore(path: Path) -> str:
    """Return what to do with a database that is beyond repair."""
    copy = _copy_of(path)
    where = copy.name if copy.exists() else "a copy"
    return (
        f"restore it from {where}, or move it away: a new one is made then, and --resume logs "
        "all that lies in a study's folder again"
    )


def _unusable(path: Path, what: str, to_fix: str) -> TrackingError:
    return TrackingError(f"MLflow's database {path} {what}. To fix: {to_fix}")
