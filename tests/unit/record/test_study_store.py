import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from diffrop.engine.drivers import Drivers
from diffrop.errors import StudyError
from diffrop.record.next_step import resume_command
from diffrop.record.settings import read_settings
from diffrop.record.study_store import StudyStore
from diffrop.study.config import LaunchConfig
from tests.made.faults import fault
from tests.made.small import ROOT, small_study

NEW, RESUME = LaunchConfig(), LaunchConfig(resume=True)
FINGERPRINTS = {"data_digest": "aa", "reference_digest": "bb"}


@pytest.fixture
def store(tmp_path: Path) -> StudyStore:
    """A study that was started once."""
    made = StudyStore(tmp_path, "small")
    made.create(small_study(), "command", NEW, FINGERPRINTS)
    return made


@fault(24, "a symbolic link as the study's folder")
def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "small").symlink_to(tmp_path / "outside")
    with pytest.raises(StudyError, match="symbolic link"):
        StudyStore(tmp_path / "runs", "small").check(small_study(), RESUME)


@fault(9, "the name of a study that exists")
def test_existing_name_is_refused_with_both_ways_out(store: StudyStore) -> None:
    with pytest.raises(StudyError, match=r"--resume.*--study-name"):
        store.check(small_study(), NEW)


def test_resume_of_an_unknown_study_lists_the_known(store: StudyStore) -> None:
    other = StudyStore(store.path.parent, "other")
    with pytest.raises(StudyError, match="allowed: small"):
        other.check(small_study("other"), RESUME)


def test_configuration_survives_the_disk(store: StudyStore) -> None:
    assert store.read_config() == small_study()
    store.check(small_study(num_trials=50), RESUME)  # more trials are no other study


def test_folder_tells_the_number_of_trials_of_the_newest_launch(store: StudyStore) -> None:
    launched = "python run.py --trials 50 --resume"
    store.resume(small_study(num_trials=50), launched, RESUME, FINGERPRINTS)
    assert store.read_config() == small_study(num_trials=50)
    command = "python run.py --trials 50 --study-name small --resume"
    assert resume_command(read_settings(store.folder)["command"], store.name) == command
    store.check(small_study(num_trials=60), RESUME)


def test_optuna_names_the_objectives(store: StudyStore) -> None:
    with store.open_read_only(None) as study:
        assert study.metric_names == list(small_study().experiment.evaluation.objectives)


def test_optuna_names_the_objectives_of_an_earlier_study_once_it_is_resumed(
    store: StudyStore,
) -> None:
    with contextlib.closing(sqlite3.connect(store.folder.database)) as database:
        names = "study_system_attributes WHERE key = 'study:metric_names'"
        assert database.execute(f"DELETE FROM {names}").rowcount == 1
        database.commit()
    assert store.open(RESUME).metric_names is None
    store.resume(small_study(), "command", RESUME, FINGERPRINTS)
    objectives = list(small_study().experiment.evaluation.objectives)
    assert store.open(RESUME).metric_names == objectives


@fault(20, "another configuration")
def test_changed_configuration_is_refused_with_the_differences(store: StudyStore) -> None:
    changed = small_study(seed=1, first_rung_images=32)
    with pytest.raises(StudyError, match="first_rung_images 64 -> 32; seed 0 -> 1"):
        store.check(changed, RESUME)


@fault(20, "another database, other images")
def test_database_of_another_configuration_or_other_images_is_refused(store: StudyStore) -> None:
    changed = {**FINGERPRINTS, "reference_digest": "cc"}
    with pytest.raises(StudyError, match="reference_digest 'bb' -> 'cc'; resume it as it was"):
        store.resume(small_study(), "command", RESUME, changed)
    with pytest.raises(StudyError, match=r"database.*: seed 0 -> 1; resume it as it was"):
        store.resume(small_study(seed=1), "command", RESUME, FINGERPRINTS)
    assert store.read_config() == small_study()
    study = store.resume(small_study(num_trials=50), "command", RESUME, FINGERPRINTS)
    assert study.user_attrs["config"]["experiment"]["training"]["num_images"] == 128


def test_database_that_does_not_say_its_configuration_is_refused(store: StudyStore) -> None:
    store.folder.database.unlink()
    store.open(NEW)  # as an earlier version made it
    with pytest.raises(StudyError, match="does not say how it is configured"):
        store.resume(small_study(), "command", RESUME, FINGERPRINTS)


def test_name_that_another_runs_folder_has_on_the_server_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    server = f"sqlite:///{tmp_path / 'server.db'}"
    theirs, ours = (StudyStore(tmp_path / name, "small") for name in ("theirs", "ours"))
    theirs.create(small_study(), "command", LaunchConfig(storage=server), FINGERPRINTS)
    with pytest.raises(StudyError, match=r"but not in .*/ours; .*--study-name"):
        ours.create(small_study(seed=1), "command", LaunchConfig(storage=server), FINGERPRINTS)
    assert not ours.path.exists()
    with pytest.raises(StudyError, match="no study 'small'"):
        ours.check(small_study(seed=1), LaunchConfig(storage=server, resume=True))


def test_mistyped_storage_leaves_nothing_behind(tmp_path: Path) -> None:
    store = StudyStore(tmp_path / "runs", "small")
    mistyped = LaunchConfig(storage=f"sqlite:///{tmp_path}/missing/server.db")
    with pytest.raises(StudyError, match="cannot open the study database"):
        store.create(small_study(), "command", mistyped, FINGERPRINTS)
    store.check(small_study(), NEW)
    store.create(small_study(), "command", NEW, FINGERPRINTS)


def test_folder_that_is_no_study_is_not_offered_for_resuming(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    with pytest.raises(StudyError, match="remove it, or name another"):
        StudyStore(tmp_path, "small").check(small_study(), NEW)


@fault(17, "bytes that are no database")
def test_damaged_database_is_refused_and_kept(store: StudyStore) -> None:
    content = store.folder.database.read_bytes()
    for damaged in (b"not a database" * 100, content[: len(content) // 2]):
        store.folder.database.write_bytes(damaged)
        with pytest.raises(StudyError, match=r"study database.*damaged"):
            store.open(RESUME)
        assert store.folder.database.read_bytes() == damaged


@fault(17, "the database removed")
def test_missing_database_is_refused_and_not_made_anew(store: StudyStore) -> None:
    store.folder.database.unlink()
    with pytest.raises(StudyError, match="missing"):
        store.open(RESUME)
    assert not store.folder.database.exists()


@fault(17, "a lock of another process")
def test_locked_database_is_refused_in_seconds(
    store: StudyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffrop.record.study_store.LOCK_WAIT_S", 0.2)
    holder = sqlite3.connect(store.folder.database)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StudyError, match="locked"):
        store.open(RESUME)
    holder.close()


@fault(45, "a second process")
def test_second_process_is_refused_while_the_first_runs(store: StudyStore) -> None:
    program = (
        "from pathlib import Path; from diffrop.engine.drivers import Drivers\n"
        f"with Drivers(Path({str(store.folder.drivers)!r})).join(exclusive=True): pass"
    )
    command = [sys.executable, "-c", program]
    with Drivers(store.folder.drivers).join(exclusive=True):
        refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "running in another process" in refused.stderr
    assert subprocess.run(command, cwd=ROOT, timeout=120).returncode == 0


def test_unreachable_storage_does_not_show_its_password(store: StudyStore) -> None:
    url = "postgresql+psycopg://user:canary@127.0.0.1:9/none"
    with pytest.raises(StudyError) as caught:
        store.open(LaunchConfig(storage=url))
    assert "canary" not in str(caught.value)
    assert "cannot open the study database" in str(caught.value)


def test_missing_driver_of_the_storage_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StudyError, match=r"cannot open .* To fix: .*\[postgresql\]"):
        StudyStore(tmp_path, "small").open(LaunchConfig(storage="postgresql+psycopg://h:9/none"))


def test_read_only_root_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(StudyError, match=r"cannot write in .*--runs-root"):
        StudyStore(tmp_path / "new" / "runs", "small").check(small_study(), NEW)


@fault(49, "folders and files that may not be written")
@pytest.mark.parametrize("name", ["small", "small/trials", "small/study.db", "checkpoints"])
def test_whatever_a_launch_could_not_write_is_refused_before_it_begins(
    store: StudyStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for folder in ("small/trials", "checkpoints"):
        (store.path.parent / folder).mkdir()
    store.check(small_study(), RESUME)
    theirs, access = store.path.parent / name, os.access
    monkeypatch.setattr("os.access", lambda path, mode: path != theirs and access(path, mode))
    with pytest.raises(StudyError, match=rf"cannot write {theirs}.* To fix: make it writable"):
        store.check(small_study(), RESUME)
