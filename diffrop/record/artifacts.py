"""Sample grids as Optuna's artifacts: optuna-dashboard shows them beside their trial.

An attribute of the trial names each artifact, which is a file of that name in the study's folder;
the trial's own grid stays what other readers read.
"""

import shutil
import warnings
from pathlib import Path
from typing import BinaryIO

import optuna
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from PIL import Image

from diffrop.record.kinds import file_of, set_damaged_aside
from diffrop.record.names import images_of
from diffrop.record.optuna_private import storage_of
from diffrop.record.study_folder import StudyFolder
from diffrop.storage import sweep_temporaries, written_atomically


class WholeFileStore(FileSystemArtifactStore):
    """Optuna's store in a folder, in which no artifact is ever half written."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which need not exist."""
        super().__init__(folder)
        self._folder = folder

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write an artifact whole or not at all; OSError if that fails."""
        path = self._folder / artifact_id
        with written_atomically(path) as temporary, temporary.open("wb") as file:
            shutil.copyfileobj(content_body, file)


def keep_grids(trial: optuna.Trial, folder: StudyFolder) -> None:
    """Make artifacts of those sample grids of a trial that are none yet.

    A disk that is full costs a warning: `restore_grids` writes the files later.

    Args:
        trial: it has not ended, for Optuna then takes no further attributes.
        folder: of the study.
    """
    known = {meta.filename for meta in get_all_artifact_meta(trial)}
    store = WholeFileStore(folder.artifacts)
    for grid in folder.trial(trial.number).grids():
        if grid.name in known:
            continue
        try:
            upload_artifact(artifact_store=store, file_path=str(grid), study_or_trial=trial)
        except OSError as error:
            what = file_of(folder.artifacts / grid.name).damaged
            warnings.warn(
                f"{grid} could not be kept as an artifact ({error}); {what}", stacklevel=2
            )


def restore_grids(study: optuna.Study, folder: StudyFolder) -> None:
    """Write anew those artifacts whose files are damaged or missing, from the trials' grids.

    What else people have put there with optuna-dashboard is left as it is.
    """
    sweep_temporaries(folder.artifacts)
    store, storage = WholeFileStore(folder.artifacts), storage_of(study)
    for trial in study.get_trials(deepcopy=False):
        for meta in get_all_artifact_meta(trial, storage=storage):
            images = images_of(Path(meta.filename))
            if images is None or Path(meta.artifact_id).name != meta.artifact_id:
                continue
            grid = folder.trial(trial.number).grid_path(images)
            path = folder.artifacts / meta.artifact_id
            if grid.name != meta.filename or not grid.is_file():
                continue
            set_damaged_aside(path, _read_picture)
            if not path.exists():
                with grid.open("rb") as content:
                    store.write(meta.artifact_id, content)


def _read_picture(path: Path) -> None:
    """Read a picture to its end; ValueError or OSError if it is damaged."""
    try:
        with Image.open(path) as image:
            image.load()
    except SyntaxError as error:  # so PIL calls what is broken inside a PNG
        raise ValueError(str(error)) from error
