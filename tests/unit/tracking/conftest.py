import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.made.mlflow_database import unsynced_sqlite


@pytest.fixture(scope="package")
def _unsynced_sqlite() -> Iterator[None]:
    with unsynced_sqlite():
        yield


@pytest.fixture
def uri(_unsynced_sqlite: None, tmp_path: Path, empty_database: Path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
