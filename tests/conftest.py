from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow, for tests to copy."""
    from tests.made.mlflow_database import write_empty_database  # MLflow's import takes seconds

    return write_empty_database(tmp_path_factory.mktemp("template"))
