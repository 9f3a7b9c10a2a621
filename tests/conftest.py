import signal
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests send it, also those that nohup runs


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-table",
        choices=("print", "write"),
        help="print what the tests of faults found, or write it into docs/reliability.md as well",
    )


def pytest_configure(config: pytest.Config) -> None:
    if found := config.getoption("--fault-table"):
        from tests.made.faults import FaultTable

        config.pluginmanager.register(FaultTable(write=found == "write"))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow, for tests to copy."""
    from tests.made.mlflow_database import write_empty_database

    return write_empty_database(tmp_path_factory.mktemp("template"))
