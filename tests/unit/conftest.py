import shutil
from pathlib import Path

import pytest

from diffrop.record.results import StudyResult
from diffrop.record.study_store import StudyStore
from tests.made.finished_study import open_finished_study, write_finished_study


@pytest.fixture(scope="session")
def finished_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with the finished study of four; tests change copies of it."""
    root = tmp_path_factory.mktemp("finished") / "runs"
    write_finished_study(root)
    return root


@pytest.fixture
def finished(finished_root: Path, tmp_path: Path) -> tuple[StudyStore, StudyResult]:
    """A copy of the finished study of four, and its results."""
    shutil.copytree(finished_root, tmp_path / "runs")
    return open_finished_study(tmp_path / "runs")
