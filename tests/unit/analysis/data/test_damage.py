import collections
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.errors import DiffropError
from diffrop.record.kinds import Kind, file_of
from tests.made.damages import DAMAGES, damaged
from tests.made.faults import fault
from tests.made.full_study import TRIALS, write_full_study

FILES = (
    "study.yaml",
    "trials.csv",
    "front.csv",
    "anchors.json",
    "fidelity.json",
    "confirm.json",
    "plan.json",
    "trials/t001/scores/images_000000024000.json",
    "trials/t001/training.key",
    f"../checkpoints/{1:016x}/training.json",
    f"../checkpoints/{1:016x}/metrics.jsonl",
    f"../checkpoints/{1:016x}/cost.jsonl",
)
FRAMES = ("measurements", "curves", "costs")
RECORDS = ("reference_scores", "best", "agreement", "confirmation", "cost", "config")


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudyResults]:
    """A study of three trials with every file that one can have."""
    folder = tmp_path_factory.mktemp("damage") / "full"
    yield load_study(write_full_study(folder, trials=TRIALS[:3]))


def _rows(frame: pd.DataFrame) -> collections.Counter[tuple[str, ...]]:
    return collections.Counter(map(tuple, frame.astype(str).to_numpy().tolist()))


def _changed(found: StudyResults, intact: StudyResults) -> list[str]:
    names = [name for name in RECORDS if getattr(found, name) != getattr(intact, name)]
    for name in FRAMES:
        now, before = _rows(getattr(found, name)), _rows(getattr(intact, name))
        assert not now - before, f"{name} holds something else"  # lost, but never changed
        names += [name] if now != before else []
    return names


@fault(29, "every file of a study cut, emptied, of another type, binary, a folder")
@fault(30, "every file of a study cut, emptied, of another type, binary, a folder")
@pytest.mark.parametrize("name", FILES)
def test_damage_is_refused_or_named_and_never_gives_another_result(
    intact: StudyResults, name: str
) -> None:
    path = intact.directory / name
    for how in DAMAGES:
        if name.endswith("metrics.jsonl") and "field" in how:
            continue  # a measure that a row does not have was not logged
        if name == "trials.csv" and how == "unknown field":
            continue  # further columns are a user's
        with damaged(path, how), warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            try:
                found = load_study(intact.directory)
            except (ValueError, DiffropError) as error:
                assert str(path.resolve()) in str(error) or str(path) in str(error), how
                assert "\n" not in str(error) and "To fix: " in str(error), how
                assert path.name in ("study.yaml", "trials.csv", "confirm.json"), how
                continue
            sentences = {str(warning.message) for warning in seen}
            named = any(Path(name).name in sentence for sentence in sentences)
            pd.testing.assert_frame_equal(
                found.trials[["number", "value"]], intact.trials[["number", "value"]]
            )
            assert named or not _changed(found, intact), how
            assert not any("\n" in sentence for sentence in sentences)


def test_every_file_has_a_kind() -> None:
    precious = {name for name in FILES if file_of(Path(name)).kind is Kind.PRECIOUS}
    assert precious == {"study.yaml", "confirm.json"}


def test_stray_content_is_passed_over(intact: StudyResults) -> None:
    folder, training = intact.directory, intact.directory.parent / f"checkpoints/{1:016x}"
    stray = [
        folder / "notes.txt",
        folder / "trials/t00x",
        folder / "trials/t001/scores/images_000000024000.copy.json",
        folder / "trials/t001/scores/images_24000.json",
        folder / "trials/t001/scores/images_000000024000.json.damaged",
        folder / "confirm/t001-sx",
        folder / "prefix/seed-x",
        training / "images_x.safetensors",
        training / "refs/full/notes",
    ]
    for path in stray:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff stray")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = load_study(folder)
        assert not _changed(found, intact)
    finally:
        for path in stray:
            path.unlink()
