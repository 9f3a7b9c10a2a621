from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory
from mlflow import MlflowClient
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
from PIL import Image

from diffrop.tracking.mlflow_private import (
    IMAGE_FOLDER,
    PREVIEW_END,
    image_identity,
    upgrade_database,
)


def test_file_of_a_logged_image_tells_what_it_was_logged_as(uri: str, tmp_path: Path) -> None:
    client = MlflowClient(uri)
    experiment = client.create_experiment("images", (tmp_path / "artifacts").as_uri())
    run_id = client.create_run(experiment).info.run_id
    image = Image.new("RGB", (8, 4))
    client.log_image(run_id, image, key="samples/by rung", step=320, timestamp=1_700_000_000_123)
    files = client.list_artifacts(run_id, IMAGE_FOLDER)
    assert len(files) == 2 and sum(file.path.endswith(PREVIEW_END) for file in files) == 1
    expected = ("samples/by rung", 320, 1_700_000_000_123)
    assert {image_identity(file.path) for file in files} == {expected}
    assert client.get_run(run_id).data.tags["mlflow.loggedImages"] == "True"


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
