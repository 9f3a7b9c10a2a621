from pathlib import Path

import pytest

from diffrop.record.names import files_by_images, images_name, images_of, parse_label, trial_label


@pytest.mark.parametrize(
    ("number", "seed", "label"),
    [(0, None, "t000"), (7, None, "t007"), (1234, None, "t1234"), (3, 1, "t003-s1")],
)
def test_label_names_a_trial_and_is_read_back(number: int, seed: int | None, label: str) -> None:
    assert trial_label(number, seed) == label
    assert parse_label(label) == (number, seed)


@pytest.mark.parametrize(
    "name", ["", "t7", "007", "t007-", "t007-s", "t007-sx", "xt007", "t007/a"]
)
def test_other_names_are_no_labels(name: str) -> None:
    assert parse_label(name) is None


def test_names_of_files_sort_by_images() -> None:
    counts = [64, 128, 1_024, 10_000_000]
    names = [images_name(images, ".json") for images in counts]
    assert names == sorted(names) and names[0] == "images_000000000064.json"
    assert [images_of(Path("scores") / name) for name in names] == counts


def test_files_of_a_folder_come_by_images(tmp_path: Path) -> None:
    for name in (
        "images_000000000128.json",
        "images_000000000064.json",
        "images_x.json",
        "a.json",
    ):
        (tmp_path / name).touch()
    (tmp_path / images_name(64, ".png")).touch()
    assert [images_of(path) for path in files_by_images(tmp_path, ".json")] == [64, 128]


@pytest.mark.parametrize("name", ["images_.json", "image_64.json", "images_64x.json", "log"])
def test_other_files_have_no_images(name: str) -> None:
    assert images_of(Path(name)) is None
