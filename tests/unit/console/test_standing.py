"""How far a study is, for a page that is drawn by hand."""

from pathlib import Path

import pytest

from diffrop.console.standing import standing_of
from diffrop.console.status import study_status
from diffrop.engine.drivers import Drivers
from diffrop.record.study_store import StudyStore
from diffrop.study.config import LaunchConfig
from tests.made.small import small_study


@pytest.fixture
def store(tmp_path: Path) -> StudyStore:
    """A study of four, of which one trial runs."""
    config = small_study(num_trials=4)
    store = StudyStore(tmp_path / "runs", config.name)
    store.create(config, "command", LaunchConfig(), {}).ask()
    return store


def test_study_that_runs_stands_where_its_status_says(store: StudyStore) -> None:
    assert standing_of(store.path) == ""
    with Drivers(store.folder.drivers).join(exclusive=True):
        standing = standing_of(store.path)
        assert standing == study_status(store).progress.standing
        assert standing == "0 of 4 trials done, 1 running; time left unknown"
        store.folder.database.rename(store.path / "elsewhere.db")
        assert standing_of(store.path).startswith("trials are running; ")
    assert standing_of(store.path) == standing_of(store.path.parent / "nothing") == ""
