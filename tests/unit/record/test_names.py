from pathlib import Path

import pytest

from diffrop.record.names import images_name, images_of, parse_label, trial_label


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


@pytest.mark.parametrize("name", ["images_.json", "image_64.json", "images_64x.json", "log"])
def test_other_files_have_no_images(name: str) -> None:
    assert images_of(Path(name)) is None
