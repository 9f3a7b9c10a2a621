"""Where a launch is logged: MLflow's URI, and its run there."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from diffrop.errors import StudyError
from diffrop.scoring.samples import ScoringInputs
from diffrop.sqlite_file import mlflow_url
from diffrop.study.config import LaunchConfig
from diffrop.tracking.tracker import Tracker
from diffrop.tracking.uri import check_database_file, checked_uri


def tracking_uri(launch: LaunchConfig) -> str:
    """Return MLflow's URI: the launch's, or SQLite in the runs folder."""
    return launch.tracking_uri or mlflow_url(Path(launch.runs_root).resolve() / "mlflow.db")


def check_tracking(launch: LaunchConfig) -> None:
    """Refuse a place that MLflow cannot write to; nothing is touched.

    Raises:
        ValueError: the URI is not allowed, or its file is no database or cannot be written.
    """
    check_database_file(checked_uri(tracking_uri(launch)))


def open_tracker(
    launch: LaunchConfig,
    experiment: str,
    token: str,
    run: str,
    params: dict[str, Any],
    inputs: ScoringInputs,
    views: dict[str, str] | None = None,
    driver: str = "",
    known_drivers: AbstractSet[str] = frozenset(),
    alive: Callable[[str], bool] | None = None,
) -> Tracker:
    """Open a parent run in MLflow; StudyError if its database cannot be written."""
    try:
        return Tracker(
            tracking_uri(launch),
            artifact_root=Path(launch.runs_root).resolve() / "mlartifacts",
            experiment=experiment,
            token=token,
            launch=run,
            params=params,
            tags={"dataset": inputs.dataset.name, "extractor": inputs.extractor.name},
            experiment_tags=views,
            driver=driver,
            known_drivers=known_drivers,
            alive=alive,
        )
    except ValueError as error:
        raise StudyError(str(error)) from error
