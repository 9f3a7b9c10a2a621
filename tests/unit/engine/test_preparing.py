"""A study that prepares is seen from the first second, and leaves nothing behind if it fails."""

import contextlib
from pathlib import Path

import pytest

from diffrop.engine.prepare import check_launch, prepare
from diffrop.engine.preparing import Preparing
from diffrop.errors import StudyError
from diffrop.record.study_folder import StudyFolder, prepared_names
from diffrop.record.study_store import StudyStore
from diffrop.study.config import LaunchConfig
from tests.made.processes import run_bare
from tests.made.small import small_study
from tests.made.studies import launch_in

KILLED = """
import os, sys
from pathlib import Path
from diffrop.engine.preparing import Preparing
from diffrop.record.study_folder import StudyFolder
with Preparing(StudyFolder(Path(sys.argv[1]))).run():
    os._exit(0)  # as if it were killed: nothing is tidied up
"""


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "runs" / "small")


def test_folder_says_what_is_done_and_goes_without_a_study(folder: StudyFolder) -> None:
    mine, another = Preparing(folder), Preparing(folder)
    mine.note("nothing yet", None)  # it has no place
    with contextlib.suppress(ValueError), mine.run():
        assert another.others() and not another.is_unclaimed
        assert another.activities() == []  # nothing was said
        mine.note("features: 1 of 9", 0.1)
        mine.note("features: 2 of 9", 0.2)  # so soon it is not written
        (found,) = another.activities()
        assert found.text == "features: 1 of 9 10%, 0 s"
        mine.note("fitting", None)
        assert another.activities()[0].what == "fitting"
        assert prepared_names(folder.path.parent) == ["small"]
        raise ValueError("it does not fit")
    assert not folder.path.exists() and prepared_names(folder.path.parent) == []


def test_study_that_was_made_stays(folder: StudyFolder) -> None:
    with Preparing(folder).run():
        StudyStore(folder.path.parent, "small").create(small_study(), "x", LaunchConfig(), {})
    assert folder.config.exists() and not folder.preparing.exists()
    with Preparing(folder).run():  # as where it is resumed
        assert len(list(folder.preparing.iterdir())) == 1
    assert folder.config.exists() and not folder.preparing.exists()


@pytest.mark.parametrize("kept", ["study.db", "trials/t000"])
def test_study_whose_configuration_is_lost_is_not_removed(folder: StudyFolder, kept: str) -> None:
    with Preparing(folder).run():
        (folder.path / kept).mkdir(parents=True)
    assert (folder.path / kept).exists()
    run_bare(KILLED, str(folder.path.with_name("other")))
    other = StudyFolder(folder.path.with_name("other"))
    (other.path / kept).mkdir(parents=True)
    assert list(other.preparing.iterdir()) and not Preparing(other).is_unclaimed


def test_two_processes_do_not_prepare_one_study(folder: StudyFolder, tmp_path: Path) -> None:
    launch = launch_in(tmp_path)
    with Preparing(folder).run():
        with pytest.raises(StudyError, match="is being prepared by another process"):
            check_launch(small_study(), launch)
        with pytest.raises(StudyError, match="cannot write"), Preparing(folder).run():
            pass
        assert folder.path.exists()


def test_what_a_killed_preparation_left_gives_way(folder: StudyFolder, tmp_path: Path) -> None:
    run_bare(KILLED, str(folder.path))
    assert list(folder.preparing.iterdir())
    found = Preparing(folder)
    assert found.is_unclaimed and found.activities() == []
    assert check_launch(small_study(), launch_in(tmp_path)).path == folder.path
    assert folder.preparing.exists()  # a check changes nothing
    with found.run():
        assert len(list(folder.preparing.iterdir())) == 1
    assert not folder.path.exists()


def test_preparation_says_what_it_does_and_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[str, float | None]] = []
    study, launch = small_study(), launch_in(tmp_path)
    store = check_launch(study, launch)
    prepare(study, launch, store, lambda *what: told.append(what))
    words = [what for what, _ in told]
    for begin in ("loading the extractor", "training the classifier", "features of 1,797 real"):
        assert any(word.startswith(begin) for word in words), begin
    shares = [share for what, share in told if what.startswith("training the classifier")]
    assert shares[0] == 0 and len(shares) > 100
    assert None not in shares and shares == sorted(shares)  # type: ignore[type-var]
