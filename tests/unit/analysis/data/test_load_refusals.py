"""Studies that are spoiled, incomplete or none at all: what is refused, and what is left out."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from diffrop.analysis.data.load import StudyResults, load_studies, load_study
from diffrop.errors import DiffropError, StudyError
from tests.made.analysed_study import read_trials, write_study, write_trials
from tests.made.full_study import write_full_study

SCORE = "trials/t001/scores/images_000000006016.json"


def _edit_trials(column: str, value: str, row: int = 1) -> Callable[[Path], None]:
    def edit(directory: Path) -> None:
        rows = read_trials(directory)
        rows[row][column] = value
        write_trials(directory, rows)

    return edit


def _drop_column(directory: Path) -> None:
    write_trials(
        directory,
        [{k: v for k, v in row.items() if k != "state"} for row in read_trials(directory)],
    )


def _new_format(directory: Path) -> None:
    config = yaml.safe_load((directory / "study.yaml").read_text())
    (directory / "study.yaml").write_text(yaml.safe_dump(config | {"format": 4}))


def _torn_score(directory: Path) -> None:
    (directory / SCORE).write_text('{"images_seen": 6016, "cur')


def _score_without_curve(directory: Path) -> None:
    (directory / SCORE).write_text('{"images_seen": 6016}')


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda d: (d / "study.yaml").unlink(), "is no study: it holds no study.yaml"),
        (lambda d: (d / "study.yaml").write_text("- 1"), "is not a mapping"),
        (
            lambda d: (d / "study.yaml").write_text("format: 3"),
            r"cannot read .*study.yaml \(StudyConfig has no key 'name'\)",
        ),
        (_new_format, "study.yaml has format 4, and this version reads formats up to 3"),
        (lambda d: (d / "trials.csv").unlink(), "has no results yet: it holds no trials.csv"),
        (lambda d: (d / "trials.csv").write_text(""), "cannot read .*trials.csv"),
        (_drop_column, "has no column 'state'"),
        (_edit_trials("value", "good"), "column 'value' of .* holds more than numbers"),
        (_edit_trials("images_seen", "1.5"), "column 'images_seen' of .* holds more than numbers"),
        (_edit_trials("number", "2"), "trials without a number of their own"),
    ],
)
def test_spoiled_study_is_refused_in_one_sentence(
    tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    directory = write_study(tmp_path / "study")
    spoil(directory)
    with pytest.raises((ValueError, DiffropError), match=sentence) as caught:
        load_study(directory)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_torn_score, "cannot read .*images_0+6016.json"),
        (_score_without_curve, "images_0+6016.json is no complete score file"),
        (
            lambda d: (d / "anchors.json").write_text("[]"),
            r"cannot read .*anchors.json \(it holds no mapping\)",
        ),
        (lambda d: (d / "best.yaml").write_text("a: [1"), "best.yaml is not valid YAML"),
    ],
)
def test_what_is_not_precious_is_named_and_left_out(
    tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    directory = write_study(tmp_path / "study")
    expected = load_study(directory)
    spoil(directory)
    with pytest.warns(UserWarning, match=sentence):
        found = load_study(directory)
    pd.testing.assert_frame_equal(found.trials, expected.trials)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no study"):
        load_study(tmp_path / "nowhere")


def test_no_study_and_one_study_twice_are_refused(study: StudyResults) -> None:
    with pytest.raises(ValueError, match="no study was named; allowed: one folder at least"):
        load_studies([])
    with pytest.raises(ValueError, match=r"the study 'tau-sweep \(.*\)' is there twice"):
        load_studies([study, study])


def test_runs_folder_is_refused_with_its_studies(full_dir: Path) -> None:
    with pytest.raises(ValueError, match=r"is no study: .* one of its folders full"):
        load_study(full_dir.parent)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("fidelity.json", "{", "cannot read .*fidelity.json"),
        ("plan.json", "3", r"cannot read .*plan.json \(it holds no mapping\)"),
        ("front.csv", "", "cannot read .*front.csv"),
        ("front.csv", "a,b\n1,2\n", "front.csv has no column 'number'"),
    ],
)
def test_derived_file_of_the_present_format_is_named_and_left_out(
    tmp_path: Path, file: str, content: str, sentence: str
) -> None:
    directory = write_full_study(tmp_path / "full")
    (directory / file).write_text(content)
    with pytest.warns(UserWarning, match=sentence):
        load_study(directory)


def test_damaged_confirmation_is_refused_with_what_to_do(tmp_path: Path) -> None:
    directory = write_full_study(tmp_path / "full")
    (directory / "confirm.json").write_text("[]")
    with pytest.raises(StudyError, match=r"confirm.json \(it holds no mapping\). To fix: restore"):
        load_study(directory)


def test_half_deleted_study_is_read_as_far_as_it_is_there(tmp_path: Path) -> None:
    directory = write_full_study(tmp_path / "full")
    for name in ("anchors.json", "fidelity.json", "confirm.json", "plan.json", "front.csv"):
        (directory / name).unlink()
    shutil.rmtree(directory / "trials" / "t001")
    shutil.rmtree(directory.parent / "checkpoints")
    study = load_study(directory)
    assert study.front is None and study.confirmation is None and study.curves.empty
    assert 1 not in study.measurements["number"].tolist() and len(study.trials) == 18
