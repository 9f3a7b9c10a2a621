"""One process at a time makes or upgrades the tables of a database."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy

from diffrop.storage import try_lock

POLL_S = 0.1
POSTGRESQL_KEY = 0x6469_6666_726F_7001
"""Of PostgreSQL's advisory locks, the one that all processes of this program take here."""


@contextlib.contextmanager
def creation_lock(url: str, wait_s: float) -> Iterator[None]:
    """Keep other processes from making or upgrading the tables of a database meanwhile.

    Neither MLflow nor Optuna does so: two that make tables at once leave a database that none can
    open. The lock goes with the process, even if it is killed.

    Args:
        url: of SQLAlchemy; there is no lock for other databases than SQLite and PostgreSQL.
        wait_s: longest wait for another process.

    Raises:
        TimeoutError: another process holds the lock for longer than that.
        OSError, sqlalchemy.exc.SQLAlchemyError: the lock's file cannot be written, or the server
            is out of reach.
    """
    found = sqlalchemy.make_url(url)
    lock: contextlib.AbstractContextManager[bool]
    match found.get_backend_name():
        case "sqlite" if found.database:
            path = Path(found.database)
            lock = try_lock(path.with_name(f".{path.name}.lock"), wait_s)
        case "postgresql":
            lock = _advisory_lock(url, wait_s)
        case _:
            lock = contextlib.nullcontext(True)
    with lock as held:
        if not held:
            raise TimeoutError(
                f"another process makes or upgrades the database, for {wait_s:g} s already"
            )
        yield


@contextlib.contextmanager
def _advisory_lock(url: str, wait_s: float) -> Iterator[bool]:
    until = time.monotonic() + wait_s
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    take = sqlalchemy.select(sqlalchemy.func.pg_try_advisory_lock(POSTGRESQL_KEY))
    free = sqlalchemy.select(sqlalchemy.func.pg_advisory_unlock(POSTGRESQL_KEY))
    with engine.connect() as connection:  # if this process is killed, the server frees the lock
        while not (held := bool(connection.scalar(take))) and time.monotonic() < until:
            connection.rollback()  # no transaction stays open while this waits
            time.sleep(POLL_S)
        connection.rollback()
        try:
            yield held
        finally:
            if held:  # by the time that the server notices the connection's end another may ask
                with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                    connection.scalar(free)
