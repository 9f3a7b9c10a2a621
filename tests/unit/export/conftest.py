"""One checkpoint, and the folder that it is exported to."""

from pathlib import Path

import pytest

from diffrop.checkpoint_file import Checkpoint
from diffrop.export import export_pipeline
from tests.made.pipelines import trained


@pytest.fixture(scope="package")
def checkpoint() -> Checkpoint:
    return trained()


@pytest.fixture(scope="package")
def folder(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pipeline") / "out"
    export_pipeline(checkpoint, out, omega=0.5)
    return out
