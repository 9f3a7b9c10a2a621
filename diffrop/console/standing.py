"""How far a study is, for a page that is drawn by hand while it runs."""

from pathlib import Path

from diffrop.engine.drivers import Drivers
from diffrop.errors import StudyError
from diffrop.record.study_folder import StudyFolder


def standing_of(folder: Path) -> str:
    """Return how far a study is, as `diffrop status` knows it; empty if nobody runs it.

    Args:
        folder: of the study; it need not be one.
    """
    drivers = Drivers(StudyFolder(folder).drivers)
    if not any(map(drivers.alive, drivers.names())):
        return ""
    from diffrop.console.status import StudyStatus, study_status  # Optuna takes its time
    from diffrop.record.study_store import StudyStore

    folder = folder.resolve()
    try:
        status = study_status(StudyStore(folder.parent, folder.name))
    except StudyError:  # its database is on a server, which the folder does not name
        return "trials are running; diffrop status --storage knows how many"
    return status.progress.standing if isinstance(status, StudyStatus) else ""
