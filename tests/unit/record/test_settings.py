from pathlib import Path

import pytest
import yaml

from diffrop.errors import NewerFormatError, StudyError
from diffrop.record.settings import config_of, read_settings, write_settings
from diffrop.record.study_folder import StudyFolder
from diffrop.study.config import STUDY_FORMAT


def written(folder: Path, text: str) -> StudyFolder:
    """A study whose configuration is a text."""
    study = StudyFolder(folder)
    folder.mkdir()
    study.config.write_text(text)
    return study


def test_settings_are_read_with_the_command(tmp_path: Path) -> None:
    settings = {"format": STUDY_FORMAT, "command": "python run.py", "name": "small"}
    assert read_settings(written(tmp_path / "small", yaml.safe_dump(settings))) == settings


def test_runs_folder_is_refused_with_its_studies(tmp_path: Path) -> None:
    for name in ("one", "two"):
        written(tmp_path / name, f"format: {STUDY_FORMAT}")
    with pytest.raises(ValueError, match=r"is no study: .* one of its folders one, two"):
        read_settings(StudyFolder(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "is not a mapping, so this is no study"),
        ("a: [1", "is not valid YAML"),
        ("format: 2", "has format 2; allowed: 3, the format of this version"),
        ("name: small", "has format None; allowed: 3"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    study = written(tmp_path / "small", text)
    with pytest.raises(StudyError, match=message) as found:
        read_settings(study)
    assert "\n" not in str(found.value) and "To fix: restore it" in str(found.value)


def test_later_format_is_refused_by_both_numbers(tmp_path: Path) -> None:
    study = written(tmp_path / "small", f"format: {STUDY_FORMAT + 1}")
    with pytest.raises(NewerFormatError, match=r"study.yaml has format 4, and .* up to 3"):
        read_settings(study)


def test_line_that_was_taken_out_is_noticed(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path)
    write_settings(study, {"format": STUDY_FORMAT, "name": "small", "num_trials": 3})
    assert read_settings(study)["num_trials"] == 3
    lines = study.config.read_text().splitlines(keepends=True)
    for number in range(1, len(lines)):
        study.config.write_text("".join([*lines[:number], *lines[number + 1 :]]))
        with pytest.raises(StudyError, match=r"study.yaml was altered since it was written"):
            read_settings(study)
    study.config.write_text("".join(lines[1:]))  # as an earlier version wrote it
    assert read_settings(study)["num_trials"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"parameters": []}}, "StudyConfig has no key 'name'"),
        ({"name": "small", "space": 3}, "space is 3; allowed: a mapping"),
        (
            {"name": "small", "space": {}, "pace": 1},
            "unknown configuration key 'pace'; did you mean experiment.contrastive.space",
        ),
    ],
)
def test_wrong_settings_are_refused_with_their_file(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    study = StudyFolder(tmp_path / "small")
    with pytest.raises(StudyError, match=rf"cannot read .*study\.yaml \({message}"):
        config_of(study, {"format": STUDY_FORMAT, "command": "run"} | changes)
