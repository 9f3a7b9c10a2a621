"""The lock that is held while a database's tables are made."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest

from diffrop.record.creation_lock import creation_lock
from diffrop.record.study_store import StudyStore
from diffrop.study.config import LaunchConfig
from tests.made.faults import fault
from tests.made.postgresql import running_server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server() as url:
        yield url


def assert_others_wait(url: str) -> None:
    with creation_lock(url, 0.0):
        for wait_s in (0.0, 0.3):
            with pytest.raises(TimeoutError, match="another process makes or upgrades"):
                creation_lock(url, wait_s).__enter__()
    with creation_lock(url, 0.0):
        pass


def test_sqlite_is_locked_by_a_file_beside_it(tmp_path: Path) -> None:
    assert_others_wait(f"sqlite:///{tmp_path}/my.db")
    assert [path.name for path in tmp_path.iterdir()] == [".my.db.lock"]


def test_postgresql_is_locked_by_the_server(server: str) -> None:
    assert_others_wait(server)


@fault(36, "six studies that begin on a new PostgreSQL server at once")
def test_studies_that_begin_at_once_on_a_new_server_all_begin(server: str, tmp_path: Path) -> None:
    launch = LaunchConfig(runs_root=str(tmp_path), storage=server)
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def begin(name: str) -> str:
        return StudyStore(tmp_path, name).open(launch).study_name

    names = [f"study-{number}" for number in range(6)]
    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(begin, names)) == names
