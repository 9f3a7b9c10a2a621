"""Reads a study from an MLflow server or database, as its folder is read."""

import atexit
import shutil
import tempfile
from pathlib import Path

from diffrop.analysis.data.load import StudyResults, load_study


def load_tracked(uri: str, study: str, directory: Path | None = None) -> StudyResults:
    """Read a study that was mirrored into MLflow.

    Its tables and records are downloaded, with the newest sample grid of each trial; the weights
    are not, so figures that look inside a network cannot be drawn.

    Args:
        uri: sqlite:////absolute/path.db, http(s)://host:port or postgresql://user@host/name.
        study: its name, that of the experiment in MLflow. Where several studies have the name,
            the error lists them as NAME@TOKEN, of which one is to be given.
        directory: an empty or new folder for the files; a temporary one that this process removes
            at its end, if None.

    Raises:
        ValueError: the server does not answer, or has no such study, or several, or one that was
            tracked by an earlier version; or the study has no results yet.
    """
    from diffrop.tracking.reader import download_study

    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="diffrop-"))
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return load_study(download_study(uri, study, directory).path)
