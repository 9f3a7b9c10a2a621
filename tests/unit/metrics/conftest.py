"""Images and a folder of trained classifiers that the metrics' tests share."""

from pathlib import Path

import pytest

from diffrop.config import DataConfig
from diffrop.data import LabelledImages, load_dataset


@pytest.fixture(scope="session")
def digits() -> LabelledImages:
    return load_dataset(DataConfig()).reference


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")
