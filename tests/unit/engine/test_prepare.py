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


@pytest.mark.parametrize(
    ("changes", "launched", "message"),
    [
        ({"rung_samples": 7}, {}, "7 samples are too few"),
        ({}, {"workers_per_trial": 5}, "batch_size is 32 over 5 worker"),
        ({"fork_from": "baseline@64"}, {}, "allowed: less than the first rung"),
        ({}, {"tracking_uri": "ftp://x"}, "tracking"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, object], launched: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_study(small_study(**changes), launch_in(tmp_path, **launched))  # type: ignore[arg-type]
    assert not (tmp_path / "runs").exists()
