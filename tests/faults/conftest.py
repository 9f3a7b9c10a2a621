import shutil
from pathlib import Path

import pytest


@pytest.fixture
def mlflow_tables(tmp_path: Path, empty_database: Path) -> None:
    """Spare each study the seconds in which MLflow makes its tables."""
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_database, tmp_path / "runs" / "mlflow.db")
