"""Where a study in MLflow is, and its download into a folder that is read like any other."""

import atexit
import shutil
import tempfile
from pathlib import Path

from diffrop.redaction import redact

ADDRESS = (
    "a folder; or of a study in MLflow TRACKING_URI#NAME, as in sqlite:////path/mlflow.db#tau"
)


def split_address(study: Path | str) -> tuple[str, str] | None:
    """Return tracking URI and name of a study in MLflow; None of a folder.

    Raises:
        ValueError: it is a URI without the name of a study.
    """
    uri, _, name = str(study).rpartition("#")
    if "://" in uri and name:
        return uri, name
    if isinstance(study, str) and "://" in study:
        raise ValueError(f"study is {redact(study)!r}; allowed: {ADDRESS}")
    return None


def download(uri: str, name: str, directory: Path | None = None) -> Path:
    """Download the tables and records of a study that was mirrored into MLflow; return its folder.

    The newest sample grid of each trial comes too; the weights do not, so figures that look inside
    a network cannot be drawn.

    Args:
        uri: sqlite:////absolute/path.db, http(s)://host:port or postgresql://user@host/name.
        name: of the study, which is that of the experiment in MLflow. Where several studies have
            it, the error lists them as NAME@TOKEN, of which one is to be given.
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
    return download_study(uri, name, directory).path
