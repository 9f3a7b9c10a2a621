import dataclasses
from pathlib import Path

import pytest
import torch
from PIL import Image

from diffrop.config import DataConfig
from diffrop.data import LabelledImages, load_dataset
from diffrop.data.held_out import MAX_TEST_PER_CLASS, load_split

DIGITS = DataConfig(dataset="digits", imbalance_factor=0.1)


def pixels(data: LabelledImages) -> list[bytes]:
    return [image.numpy().tobytes() for image in data.images]


def test_digits_hold_out_images_that_no_training_set_has() -> None:
    split = load_split(DIGITS)
    reference = load_dataset(DIGITS).reference
    assert sorted(pixels(split.balanced) + pixels(split.test)) == sorted(pixels(reference))
    assert set(pixels(split.train)) <= set(pixels(split.balanced))
    counts = split.test.class_counts
    assert min(counts) >= 1
    assert max(counts) == MAX_TEST_PER_CLASS
    assert split.train_digest == load_dataset(DIGITS).train_digest


def test_split_is_the_same_every_time() -> None:
    first, second = load_split(DIGITS), load_split(DIGITS)
    assert torch.equal(first.test.images, second.test.images)
    assert torch.equal(first.balanced.labels, second.balanced.labels)


def test_digits_without_a_long_tail_leave_nothing_to_hold_out() -> None:
    with pytest.raises(ValueError, match="To fix: choose an imbalance factor that leaves some"):
        load_split(DataConfig(dataset="digits", imbalance_factor=None))


def write_folder(root: Path, class_names: tuple[str, ...]) -> str:
    for name in class_names:
        (root / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(root / name / f"{number}.png")
    return str(root)


def test_image_folder_takes_its_held_out_images_from_their_own_folder(tmp_path: Path) -> None:
    train = write_folder(tmp_path / "train", ("cat", "dog"))
    config = DataConfig(dataset="image_folder", root=train, image_size=8, imbalance_factor=0.5)
    split = load_split(config, write_folder(tmp_path / "test", ("cat", "dog")))
    assert split.train.class_counts == [4, 2]
    assert split.balanced.class_counts == split.test.class_counts == [4, 4]
    with pytest.raises(ValueError, match="allowed: a folder of held-out images"):
        load_split(config)
    with pytest.raises(ValueError, match=r"test root is .*missing.*To fix: .*--test-root"):
        load_split(config, str(tmp_path / "missing"))
    with pytest.raises(ValueError, match=r"have classes cow, dog; allowed: .*cat, dog"):
        load_split(config, write_folder(tmp_path / "other", ("cow", "dog")))


def test_test_root_is_refused_where_it_means_nothing() -> None:
    with pytest.raises(ValueError, match="none with other datasets"):
        load_split(DIGITS, "somewhere")


def test_what_samples_are_scored_against_does_not_change_what_is_held_out(tmp_path: Path) -> None:
    own = write_folder(tmp_path / "real", tuple("0123456789"))
    plain, other = load_split(DIGITS), load_split(dataclasses.replace(DIGITS, reference_root=own))
    assert torch.equal(plain.balanced.images, other.balanced.images)
    assert torch.equal(plain.test.images, other.test.images)
