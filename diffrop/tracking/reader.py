"""The reads: a study's folder put together again from the files that the tracker uploaded."""

import math
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import sqlalchemy
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from diffrop.record.names import parse_label
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trial_folder import TrialFolder
from diffrop.redaction import redact
from diffrop.schema import require
from diffrop.sqlite_file import database_file
from diffrop.tracking.client import bounded, open_client
from diffrop.tracking.experiment import (
    LAUNCH,
    RETRAINING,
    TRIAL,
    split_name,
    study_runs,
)
from diffrop.tracking.images import BY_RUNG, logged_images
from diffrop.tracking.mlflow_private import IMAGE_FOLDER
from diffrop.tracking.record_files import RECORD, place_of, study_files
from diffrop.tracking.uri import checked_uri


def download_study(uri: str, study: str, directory: Path, timeout_s: float = 30.0) -> StudyFolder:
    """Download a study's tables and records, laid out as where it ran: without any weights.

    Args:
        uri: see `diffrop.tracking.uri.ALLOWED_URIS`.
        study: its name; NAME@TOKEN where several studies have the name.
        directory: an empty folder, or a new one: the study lies in it under its name, beside the
            trainings.
        timeout_s: longest wait for each answer.

    Raises:
        ValueError: the URI is not allowed or does not answer, there is no such study or more than
            one, or it was tracked by an earlier version, which uploaded no records.
    """
    store = checked_uri(uri, timeout_s)
    if store.startswith("sqlite"):
        path = database_file(store)
        if not path.is_file():  # MLflow would make an empty database of it
            raise ValueError(f"there is no file {path}; allowed: a database that MLflow wrote")
    is_free = not directory.exists() or not any(directory.iterdir())
    require(is_free, "directory", str(directory), "an empty folder, or a new one")
    try:
        with bounded(timeout_s):
            client = open_client(store, prepare=False)
            runs = sorted(study_runs(client, study, f"MLflow at {redact(uri)}"), key=_last_written)
            folder = StudyFolder(directory / split_name(study)[0])
            try:
                if not _Download(client, folder).all(runs):
                    raise ValueError(
                        f"study {study!r} in MLflow at {redact(uri)} has no record, since an "
                        "earlier version tracked it; allowed: studies tracked by this version. "
                        "To fix: read its folder"
                    )
            except BaseException:
                for path in directory.iterdir():  # it was empty
                    shutil.rmtree(path)
                raise
    except (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        reason = redact(" ".join(str(error).split()))[:300]
        raise ValueError(f"MLflow at {redact(uri)} cannot be read: {reason}") from error
    return folder


def _last_written(run: Run) -> tuple[float, int]:
    """Return when a run was written last, as far as is known: one that goes on is written now."""
    began = run.info.start_time or 0
    return math.inf if run.info.status == "RUNNING" else run.info.end_time or began, began


@dataclass
class _Download:
    """Downloads into a study's folder; of a file that several runs have, the last one stays."""

    client: MlflowClient
    folder: StudyFolder

    def all(self, runs: list[Run]) -> bool:
        """Download what all runs have, oldest first; False if that is no study's record."""
        self.folder.path.mkdir(parents=True)
        trials = {run.info.run_id: _trial_of(run, self.folder) for run in runs}
        ended = [run for run in runs if trials[run.info.run_id] and run.info.status != "RUNNING"]
        recorded = set()
        for run in runs:
            trial = trials[run.info.run_id]
            names = {file.path for file in self.client.list_artifacts(run.info.run_id)}
            if trial is None and LAUNCH in run.data.tags:
                for path in study_files(self.folder):
                    if path.name in names:  # where earlier versions uploaded it
                        self._fetch(run, path.name, path)
            place = trial.path if trial else self.folder.path
            if RECORD in names:
                self._record(run, place)
                recorded.add(run.info.run_id)
            if trial and IMAGE_FOLDER in names:
                self._newest_grid(run, trial)
        self._link()
        complete = not ended or any(run.info.run_id in recorded for run in ended)
        return complete and self.folder.config.is_file()

    def _record(self, run: Run, place: Path) -> None:
        """Download the record's files of a trial or a study."""
        with tempfile.TemporaryDirectory() as name:
            self.client.download_artifacts(run.info.run_id, RECORD, name)
            root = Path(name) / RECORD
            for path in sorted(path for path in root.rglob("*") if path.is_file()):
                relative = PurePosixPath(path.relative_to(root).as_posix())
                _move(path, place_of(relative, place, self.folder.store))

    def _newest_grid(self, run: Run, trial: TrialFolder) -> None:
        """Download the newest sample grid of a trial."""
        files = self.client.list_artifacts(run.info.run_id, IMAGE_FOLDER)
        found = {
            (step, written_ms): path
            for (key, step, written_ms), path in logged_images(files).items()
            if key == BY_RUNG
        }
        if found:
            newest = max(found)
            self._fetch(run, found[newest], trial.grid_path(newest[0]))

    def _fetch(self, run: Run, artifact: str, path: Path) -> None:
        with tempfile.TemporaryDirectory() as name:
            _move(Path(self.client.download_artifacts(run.info.run_id, artifact, name)), path)

    def _link(self) -> None:
        """Link trials to their trainings, as where they ran."""
        stored = {path.name for path in self.folder.store.glob("*")}
        folders = [self.folder.trials, self.folder.retrainings, self.folder.prefixes]
        for folder in [folder for found in folders for folder in found()]:
            if (key := folder.training_key()) in stored and key:
                folder.use_training(key, self.folder.store)


def _trial_of(run: Run, study: StudyFolder) -> TrialFolder | None:
    """Return the folder of the trial or retraining whose run it is; None of any other run."""
    number = run.data.tags.get(TRIAL, "")
    label = parse_label(run.data.tags.get(RETRAINING, ""))
    if number.isdigit():
        return study.trial(int(number))
    return study.retraining(label[0], label[1] or 0) if label else None


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(source, target)
