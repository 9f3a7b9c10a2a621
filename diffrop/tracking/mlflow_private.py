"""The private parts of MLflow that the project uses; no other module touches any.

- `mlflow.store.db.utils`: there are no public calls that make a database's tables, that tell its
  revision, or that do what `mlflow db upgrade` does.
- The tags that only MLflow's UI reads: the kind of an experiment, its saved views, the note that
  describes a run, the parent of a run, and whether a run has images.
- The beginning of the tags that the UI does not show.
- The folder and file names that `MlflowClient.log_image` gives, which nothing else can read back.

pyproject.toml bounds MLflow from above, because a later version may change them without notice.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import sqlalchemy

PARENT_RUN = "mlflow.parentRunId"
"""The tag of a child run that names its parent run."""
NOTE = "mlflow.note.content"
"""The tag that the UI shows as a run's description."""
IMAGE_FOLDER = "images"
"""The artifact folder in which the UI looks for a run's images."""
PREVIEW_END = "+compressed.webp"
"""The end of the file name of an image's preview, which is written last."""
HIDDEN = "mlflow."
"""The beginning of the names of tags that the UI does not show; a search finds them."""
TRAINING_EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}
"""The tag of an experiment that trains models; MLflow's default is GenAI."""


def create_database(uri: str) -> None:
    """Make the tables of a new SQLite database, without waiting for the disk at each of them."""
    from mlflow.store.db import utils

    with _engine(uri) as engine:
        sqlalchemy.event.listen(
            engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF")
        )
        utils._initialize_tables(engine)


def upgrade_database(uri: str) -> None:
    """Upgrade the tables of a database to those of the installed MLflow.

    This is what `mlflow db upgrade` runs; MLflow does so by itself only where a table is missing.
    """
    from mlflow.store.db import utils

    with _engine(uri) as engine:
        utils._upgrade_db(engine)


def has_all_tables(uri: str) -> bool:
    """Whether a database has every table of the installed MLflow."""
    from mlflow.store.db import utils
    from mlflow.store.tracking import dbmodels  # noqa: F401  (the tables that are asked for)

    with _engine(uri) as engine:
        return bool(utils._all_tables_exist(engine))


def revisions(uri: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the revisions that a database says it has, and MLflow's, the newest first."""
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    with _engine(uri) as engine, engine.connect() as connection:
        there = MigrationContext.configure(connection).get_current_heads()
    scripts = ScriptDirectory.from_config(utils._get_alembic_config(""))
    return there, [script.revision for script in scripts.walk_revisions()]


@contextlib.contextmanager
def _engine(uri: str) -> Iterator[sqlalchemy.Engine]:
    from mlflow.store.db import utils

    engine = utils.create_sqlalchemy_engine(uri)
    try:
        yield engine
    finally:
        engine.dispose()


def image_identity(path: str) -> tuple[str, int, int]:
    """Return the key, step and time in ms that `MlflowClient.log_image` was given for a file.

    Raises:
        ValueError: it is no name that this gives.
    """
    key, _, step, _, written_ms = PurePosixPath(path).name.split("+")[:5]
    return key.replace("~", "/"), int(step), int(written_ms)


def saved_view(
    slug: str, name: str, search_filter: str, order: str, columns: Sequence[str]
) -> dict[str, str]:
    """Return the tag of an experiment that gives the UI a saved view of its runs.

    Args:
        slug: the name in the UI's address, .../#/experiments/ID/runs?viewStateShareKey=SLUG.
        name: as the UI shows it.
        search_filter: which runs the view lists, in MLflow's query language.
        order: the key that orders them, lowest first.
        columns: keys of the shown columns.
    """
    state: dict[str, Any] = {
        "searchFilter": search_filter,
        "orderByKey": order,
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(columns),
        "runsHiddenMode": "SHOW_ALL",
    }
    # Twice: the UI keeps the state of a named view as text, and an older one reads it beside.
    view = {**state, "name": name, "createdAt": 0, "state": json.dumps(state)}
    return {f"mlflow.sharedViewState.{slug}": json.dumps(view)}
