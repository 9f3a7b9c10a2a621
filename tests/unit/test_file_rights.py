"""What the project makes, under the most permissive umask that a user may have."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffrop.edge import errors_to_exit
from diffrop.file_rights import create_private, keep_others_out
from diffrop.record.study_store import StudyStore
from diffrop.storage import write_atomically
from diffrop.study.config import LaunchConfig
from tests.made.small import small_study


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_commands_make_nothing_that_everybody_may_write(tmp_path: Path, umask: int) -> None:
    with errors_to_exit():
        pass
    write_atomically(tmp_path / "new" / "x.csv", "")
    (tmp_path / "y").write_text("")
    for path in (tmp_path / "new", tmp_path / "new" / "x.csv", tmp_path / "y"):
        assert mode(path) & 0o002 == 0
        assert mode(path) & umask == 0  # and what the user forbids stays forbidden
    assert os.umask(0o022) == umask | 0o002


def test_study_database_is_its_owners_alone_and_stays_as_they_set_it(
    tmp_path: Path, umask: int
) -> None:
    keep_others_out()
    store = StudyStore(tmp_path, "s")
    study = store.create(small_study(), "command", LaunchConfig(), {})
    assert mode(store.folder.database) == 0o600
    for path in store.path.iterdir():
        assert mode(path) & 0o002 == 0
    store.folder.database.chmod(0o640)
    store.resume(small_study(), "command", LaunchConfig(resume=True), {})
    assert mode(store.folder.database) == 0o640
    assert study.study_name == "s"


def test_private_file_that_there_is_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_text("content")
    create_private(path)
    assert path.read_text() == "content"
