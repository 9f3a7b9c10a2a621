"""Sample grids as Optuna's artifacts, in a study's own folder and database."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.trial import TrialState
from PIL import Image

from diffrop.record.artifacts import WholeFileStore, keep_grids, restore_grids
from diffrop.record.study_folder import StudyFolder
from diffrop.storage import temporary_beside
from tests.made.damages import DAMAGES, damaged


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "study")


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db")


def names(study: optuna.Study, number: int) -> dict[str, str]:
    """Return the ids of a trial's artifacts, by file name."""
    trial = study.get_trials(deepcopy=False)[number]
    metas = get_all_artifact_meta(trial, storage=study._storage)
    return {meta.filename: meta.artifact_id for meta in metas}


def draw(folder: StudyFolder, number: int, images: int) -> Path:
    path = folder.trial(number).grid_path(images)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(images).integers(0, 256, (100, 80), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_optuna_serves_each_grid_of_a_trial_once(folder: StudyFolder, study: optuna.Study) -> None:
    trials = [study.ask(), study.ask()]
    keep_grids(trials[0], folder)
    assert names(study, 0) == {} and not folder.artifacts.exists()
    grids = [draw(folder, 1, 64)]
    keep_grids(trials[1], folder)
    grids.append(draw(folder, 1, 128))
    keep_grids(trials[1], folder)
    keep_grids(trials[1], folder)
    study.tell(trials[1], 1.0)
    found = names(study, 1)
    assert sorted(found) == [grid.name for grid in grids] and names(study, 0) == {}
    for grid in grids:
        with FileSystemArtifactStore(folder.artifacts).open_reader(found[grid.name]) as file:
            assert file.read() == grid.read_bytes()
    assert len(list(folder.artifacts.iterdir())) == 2


def test_damaged_and_missing_artifacts_are_made_again(
    folder: StudyFolder, study: optuna.Study
) -> None:
    trial, grid = study.ask(), draw(folder, 0, 64)
    keep_grids(trial, folder)
    study.tell(trial, 1.0)
    path = folder.artifacts / names(study, 0)[grid.name]
    for how in DAMAGES:
        with damaged(path, how), warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            changed = not path.is_file() or path.read_bytes() != grid.read_bytes()
            restore_grids(study, folder)
            assert path.read_bytes() == grid.read_bytes(), how
            assert [path.name in str(warning.message) for warning in seen] == [True] * changed, how
        for aside in folder.artifacts.glob("*.damaged*"):
            shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
    path.unlink()
    temporary_beside(path).touch()  # of a driver that was killed
    restore_grids(study, folder)
    assert [found.name for found in folder.artifacts.iterdir()] == [path.name]


def test_what_people_put_beside_the_grids_is_left_alone(
    folder: StudyFolder, study: optuna.Study, tmp_path: Path
) -> None:
    trial = study.ask()
    draw(folder, 0, 64)
    keep_grids(trial, folder)
    (tmp_path / "notes.txt").write_text("mine")
    store = WholeFileStore(folder.artifacts)
    mine = upload_artifact(
        artifact_store=store, file_path=str(tmp_path / "notes.txt"), study_or_trial=trial
    )
    study.tell(trial, state=TrialState.PRUNED, values=None)
    (folder.artifacts / mine).write_text("edited")
    restore_grids(study, folder)
    assert (folder.artifacts / mine).read_text() == "edited"


def test_full_disk_costs_a_warning_and_the_next_launch_writes_the_picture(
    folder: StudyFolder, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, grid = study.ask(), draw(folder, 0, 64)

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("diffrop.record.artifacts.shutil.copyfileobj", fail)
        with pytest.warns(UserWarning, match=r"No space left.*--resume makes it again"):
            keep_grids(trial, folder)
    study.tell(trial, 1.0)
    assert list(folder.artifacts.iterdir()) == []  # nothing half-written
    restore_grids(study, folder)
    with Image.open(folder.artifacts / names(study, 0)[grid.name]) as image:
        assert image.size == (80, 100)
