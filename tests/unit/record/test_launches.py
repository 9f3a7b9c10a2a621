"""The launches of a study, also where an earlier version began it or went on with it."""

from pathlib import Path

import pytest

from diffrop.record.launches import Launch, changes_file, keep_launch, read_launches
from diffrop.record.settings import write_settings
from diffrop.record.study_folder import StudyFolder
from diffrop.study.config import STUDY_FORMAT


def settings_of(folder: StudyFolder, launch: Launch) -> None:
    """Write study.yaml as every version does: with the newest launch alone."""
    content = {"format": STUDY_FORMAT, "command": launch.command}
    write_settings(folder, content | {"environment": launch.environment})


def made(name: str, time: float | None = None) -> Launch:
    return Launch(command=f"command {name}", environment={"cpu": name, "gpus": []}, time=time)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path)


def test_launch_of_an_earlier_version_is_written_down_by_the_next_one(
    folder: StudyFolder,
) -> None:
    settings_of(folder, made("old"))
    assert read_launches(folder) == [made("old")]
    keep_launch(folder, made("new", 5.0), b"")
    settings_of(folder, made("new"))
    assert read_launches(folder) == [made("old"), made("new", 5.0)]


def test_launch_of_an_earlier_version_in_between_is_not_lost(folder: StudyFolder) -> None:
    keep_launch(folder, made("new", 5.0), b"")
    settings_of(folder, made("new"))
    settings_of(folder, made("old"))
    assert read_launches(folder) == [made("new", 5.0), made("old")]
    keep_launch(folder, made("newest", 7.0), b"")
    settings_of(folder, made("newest"))
    assert [each.command[8:] for each in read_launches(folder)] == ["new", "old", "newest"]


def test_torn_line_costs_its_own_launch_alone(folder: StudyFolder) -> None:
    for name in ("a", "b"):
        keep_launch(folder, made(name, 1.0), b"")
        settings_of(folder, made(name))
    lines = folder.launches.read_text().splitlines()
    folder.launches.write_text(f"{lines[0][:9]}\n{lines[1]}\n")
    with pytest.warns(UserWarning, match=r"launches.jsonl is damaged .* is not known"):
        assert read_launches(folder) == [made("b", 1.0)]


def test_changes_are_found_by_their_hash_and_damaged_ones_are_not(folder: StudyFolder) -> None:
    keep_launch(folder, made("a"), b"first")
    first = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"
    assert changes_file(folder, first) == folder.changes
    keep_launch(folder, made("b"), b"first")
    assert changes_file(folder, first) == folder.changes
    keep_launch(folder, made("c"), b"second")
    assert folder.changes.read_bytes() == b"second"
    assert changes_file(folder, first) == folder.changes_of(first)
    folder.changes_of(first).write_bytes(b"firs")
    assert changes_file(folder, first) is None
