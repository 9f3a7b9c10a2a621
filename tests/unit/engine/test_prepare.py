"""A study whose runs folder is gone, carried on from its remote copy."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from diffrop.engine.prepare import check_study
from diffrop.engine.run import push_results
from diffrop.errors import StudyError
from diffrop.execution.tasks import open_store
from tests.made.small import small_study
from tests.made.studies import launch_in


def test_study_comes_back_from_the_remote_storage_to_be_resumed(tmp_path: Path) -> None:
    launch = launch_in(tmp_path, storage_path=(tmp_path / "remote").as_uri())
    store, _ = check_study(small_study(), launch)
    store.create(small_study(), "test", launch, {})
    mirror = open_store(launch, store.path.parent).mirror
    assert mirror is not None
    push_results(store.path, mirror)
    shutil.rmtree(store.path.parent)
    again, _ = check_study(small_study(), dataclasses.replace(launch, resume=True))
    assert again.read_config() == small_study()


def test_study_that_the_remote_storage_lacks_cannot_be_resumed(tmp_path: Path) -> None:
    launch = launch_in(tmp_path, storage_path=(tmp_path / "remote").as_uri(), resume=True)
    with pytest.raises(StudyError, match="no study 'small'"):
        check_study(small_study(), launch)
