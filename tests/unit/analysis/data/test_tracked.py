import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from diffrop.analysis.data.load import StudyResults, load_studies, load_study
from diffrop.analysis.data.tracked import split_address
from diffrop.analysis.figures.registry import study_figure
from tests.made.analysed_study import write_study
from tests.made.drawn import text_of
from tests.made.full_study import write_full_study
from tests.made.mirrored_study import mirror_study

FRAMES = ("trials", "measurements", "curves", "costs", "front")
RECORDS = (
    "config",
    "agreement",
    "best",
    "confirmation",
    "cost",
    "reference_scores",
    "warm_start",
)
DRAWN = ("loss_forms", "guidance_curve", "learning_curves", "rung_ranks", "cost", "confirmation")


@pytest.fixture(scope="module")
def mirrored(
    tmp_path_factory: pytest.TempPathFactory, empty_database: Path
) -> tuple[str, StudyResults]:
    """A study in MLflow, as the tracker writes it, and the same from its folder."""
    root = tmp_path_factory.mktemp("tracked")
    directory = write_full_study(root / "runs" / "full")
    return mirror_study(directory, root, empty_database), load_study(directory)


@pytest.fixture(scope="module")
def tracked(mirrored: tuple[str, StudyResults]) -> StudyResults:
    return load_study(f"{mirrored[0]}#full")


@pytest.mark.parametrize("frame", FRAMES)
def test_frame_from_mlflow_is_that_of_the_folder(
    mirrored: tuple[str, StudyResults], tracked: StudyResults, frame: str
) -> None:
    expected = getattr(mirrored[1], frame)
    assert len(expected)
    pd.testing.assert_frame_equal(getattr(tracked, frame), expected)


def test_records_and_grids_from_mlflow_are_those_of_the_folder(
    mirrored: tuple[str, StudyResults], tracked: StudyResults
) -> None:
    for name in RECORDS:
        assert getattr(tracked, name) == getattr(mirrored[1], name), name
    pixels = []
    for study in (tracked, mirrored[1]):
        [grid] = study.folder(1).grids()
        with Image.open(grid) as picture:  # MLflow writes grey images in colour
            pixels.append(picture.convert("RGB").tobytes())
    assert pixels[0] == pixels[1]


def test_figures_can_be_drawn_from_mlflow(tracked: StudyResults) -> None:
    for entry in map(study_figure, DRAWN):
        text = text_of(entry.draw(tracked))
        assert "FID on classifier-digits, N = 1,000" in text and "digits" in text


def test_files_are_kept_in_a_folder_that_is_named(
    mirrored: tuple[str, StudyResults], tmp_path: Path
) -> None:
    study = load_study(f"{mirrored[0]}#full", directory=tmp_path / "here")
    assert study.directory == tmp_path / "here" / "full"
    pd.testing.assert_frame_equal(load_study(study.directory).trials, study.trials)


def test_studies_of_folders_and_of_mlflow_share_their_frames(
    mirrored: tuple[str, StudyResults], tmp_path: Path
) -> None:
    other = write_study(tmp_path / "other", name="other")
    frames = load_studies([f"{mirrored[0]}#full", other])
    own = frames.trials[frames.trials["study"] == "full"]
    assert own["value"].tolist() == pytest.approx(
        mirrored[1].trials["value"].tolist(), nan_ok=True
    )
    assert set(frames.trials["study"]) == {"full", "other"}


def test_address_is_split_at_the_last_hash() -> None:
    assert split_address("sqlite:////a#b/mlflow.db#tau@12") == (
        "sqlite:////a#b/mlflow.db",
        "tau@12",
    )
    assert split_address("runs/a#b") is None and split_address(Path("runs/tau")) is None
    for study in ("sqlite:////a/mlflow.db", "http://server:5000#"):
        with pytest.raises(ValueError, match=r"allowed: a folder; or .* TRACKING_URI#NAME"):
            split_address(study)


@pytest.mark.parametrize(
    ("uri", "study", "sentence"),
    [
        ("mirrored", "nope", "there is no study 'nope' in MLflow at .*allowed: .*full"),
        ("sqlite:////nowhere/mlflow.db", "full", "there is no file /nowhere/mlflow.db; allowed"),
        ("ftp://server", "full", "tracking_uri is 'ftp://server'; allowed"),
        ("http://127.0.0.1:9", "full", "MLflow at http://127.0.0.1:9 cannot be read"),
        ("foreign", "full", "cannot be read"),
    ],
)
def test_what_mlflow_cannot_answer_is_one_sentence(
    mirrored: tuple[str, StudyResults], tmp_path: Path, uri: str, study: str, sentence: str
) -> None:
    foreign = tmp_path / "foreign.db"
    foreign.write_text(json.dumps({"not": "a database"}))
    known = {"mirrored": mirrored[0], "foreign": f"sqlite:///{foreign}"}
    with pytest.raises(ValueError, match=sentence) as caught:
        load_study(f"{known.get(uri, uri)}#{study}")
    assert "\n" not in str(caught.value)
    assert foreign.read_text() == '{"not": "a database"}'
