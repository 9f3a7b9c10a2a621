from pathlib import Path

import pytest

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures import class_confusion
from diffrop.metrics import classifier
from tests.made.analysed_study import NINE_TRIALS, write_study
from tests.made.full_study import write_full_study
from tests.made.large_study import write_large_study
from tests.made.trained_study import write_trained_study


@pytest.fixture(scope="session")
def study_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The nine-trial study; tests that change a study write their own."""
    command = "python -m studies.tau_sweep --trials 9"
    return write_study(tmp_path_factory.mktemp("runs") / "tau-sweep", command=command)


@pytest.fixture(scope="session")
def study(study_dir: Path) -> StudyResults:
    return load_study(study_dir)


@pytest.fixture(scope="session")
def full_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the present format with all that the engine can leave."""
    return write_full_study(tmp_path_factory.mktemp("full-runs") / "full")


@pytest.fixture(scope="session")
def full_study(full_dir: Path) -> StudyResults:
    return load_study(full_dir)


@pytest.fixture(scope="session")
def large_study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """Forty trials, pruned, failed, infeasible and broken ones among them."""
    return load_study(write_large_study(tmp_path_factory.mktemp("large-runs") / "large"))


@pytest.fixture
def unfinished_study(tmp_path: Path) -> StudyResults:
    """Nothing complete, no reference scores, no export, no command."""
    running = [
        (number, "RUNNING", form, tau_0, kappa, margin, 1, "")
        for number, _, form, tau_0, kappa, margin, _, _ in NINE_TRIALS
    ]
    missing = {"reference_scores": False, "export": False, "command": ""}
    return load_study(write_study(tmp_path / "unfinished", trials=running, **missing))


@pytest.fixture(scope="session")
def trained_study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """The full study with two checkpoints, for figures that look inside the network."""
    return load_study(write_trained_study(tmp_path_factory.mktemp("trained") / "full"))


@pytest.fixture
def quick_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier of a few steps and few samples, for tests that are not of how good it is."""
    monkeypatch.setattr(classifier, "NUM_IMAGES", 2_560)
    monkeypatch.setattr(class_confusion, "PER_CLASS", {20: 3})


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the drawing, most of a report's time."""
    monkeypatch.setattr("diffrop.analysis.figures.drawing.applicable_figures", lambda study: [])
