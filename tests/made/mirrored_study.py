"""A finished study in MLflow, as the tracker writes it while one runs."""

import contextlib
import io
import shutil
from pathlib import Path

from diffrop.analysis.data.load import load_study
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trial_folder import TrialFolder
from diffrop.tracking.tracked_trial import TrackedTrial
from diffrop.tracking.tracker import Tracker
from tests.made.mlflow_database import unsynced_sqlite


def mirror_study(directory: Path, root: Path, empty_database: Path) -> str:
    """Write a study into a new MLflow in a folder.

    Args:
        directory: of the study.
        root: the folder, which has neither mlflow.db nor artifacts yet.
        empty_database: of MLflow, which is copied.

    Returns:
        the tracking URI.
    """
    root.mkdir(parents=True, exist_ok=True)
    shutil.copy(empty_database, root / "mlflow.db")
    uri = f"sqlite:///{root}/mlflow.db"
    study, folder = load_study(directory), StudyFolder(directory)
    with unsynced_sqlite(), contextlib.redirect_stderr(io.StringIO()):
        tracker = Tracker(
            uri,
            artifact_root=root / "artifacts",
            experiment=study.name,
            token="0a1b2c3d4e5f",
            launch="launch-1",
            params={},
            tags={},
        )
        for trial in study.trials.to_dict("records"):
            tracker.sync(_tracked(folder.trial(trial["number"]), trial["state"]))
        for retraining in folder.retrainings():
            tracker.sync(_tracked(retraining, "COMPLETE", retraining.seed))
        tracker.log_study(folder)
        assert tracker.close("FINISHED") == []
    return uri


def _tracked(folder: TrialFolder, state: str, seed: int | None = None) -> TrackedTrial:
    return TrackedTrial(
        number=folder.number,
        name=folder.path.name,
        folder=folder,
        state=state,
        params={},
        tags={},
        seed=seed,
    )
