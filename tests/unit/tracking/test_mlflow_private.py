from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base

from diffrop.tracking.mlflow_private import image_stem, key_and_step, upgrade_database


def test_image_names_give_key_and_step_back() -> None:
    stem = image_stem("final samples", 320, 1_700_000_000_000, "ab-c")
    assert key_and_step(stem) == ("final samples", 320)


@pytest.mark.usefixtures("_unsynced_sqlite")
def test_database_of_an_earlier_mlflow_is_upgraded(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    config = _get_alembic_config(uri)
    scripts = ScriptDirectory.from_config(config)
    newest = scripts.get_revision(scripts.get_current_head())
    engine = sqlalchemy.create_engine(uri)
    with engine.begin() as connection:
        Base.metadata.create_all(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, newest.down_revision)
    upgrade_database(uri)
    with engine.begin() as connection:
        (found,) = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version"))
    assert tuple(found) == (newest.revision,)
