"""Labelled images on disk: class folders, and guided-diffusion's `.npz`."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffrop.config import DataConfig
from diffrop.data import Dataset, LabelledImages, load_dataset
from diffrop.data.sample_sets import (
    folder_names,
    read_samples,
    write_class_folders,
    write_npz,
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(DataConfig())


def random_samples(dataset: Dataset, count: int = 43) -> LabelledImages:
    rng = torch.Generator().manual_seed(0)
    shape = (count, *dataset.image_shape)
    images = torch.randint(0, 256, shape, generator=rng, dtype=torch.uint8)
    return LabelledImages(images, torch.arange(count) % 10, dataset.train.class_names)


def rgb(dataset: Dataset, names: tuple[str, ...]) -> Dataset:
    """The digits in three unequal channels, with other names."""
    train = dataset.train
    images = torch.cat([train.images, 255 - train.images, train.images // 2], dim=1)
    changed = LabelledImages(images, train.labels, names)
    return dataclasses.replace(dataset, train=changed, reference=changed)


AWKWARD = ("a/b", "a_b", "", "..", "Élan", "cat", "CAT", "x" * 90, "10", "0")


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("kind", ["folders", "npz"])
def test_pixels_and_labels_go_through_files_unchanged(
    digits: Dataset, tmp_path: Path, colour: bool, kind: str
) -> None:
    dataset = rgb(digits, AWKWARD) if colour else digits
    samples = random_samples(dataset)
    path = tmp_path / ("out" if kind == "folders" else "out.npz")
    (write_class_folders if kind == "folders" else write_npz)(samples, path)
    found = read_samples(path, dataset)
    assert found.class_names == dataset.train.class_names
    for label in range(10):
        ours = samples.images[samples.labels == label]
        assert torch.equal(found.images[found.labels == label], ours)


def test_names_of_folders_are_distinct_on_every_system() -> None:
    assert folder_names(("cat", "big dog")) == ("cat", "big_dog")
    found = folder_names(AWKWARD)
    assert len({name.lower() for name in found}) == len(AWKWARD)
    assert all("/" not in name and name.strip(".") for name in found)


def test_npz_is_guided_diffusions(digits: Dataset, tmp_path: Path) -> None:
    samples = random_samples(digits)
    write_npz(samples, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert file.files == ["arr_0", "arr_1"]
        assert file["arr_0"].dtype == np.uint8 and file["arr_0"].shape == (43, 8, 8, 1)
        assert np.array_equal(file["arr_0"][5, :, :, 0], samples.images[5, 0].numpy())
        assert np.array_equal(file["arr_1"], np.arange(43) % 10)


def test_class_folders_may_be_numbered(digits: Dataset, tmp_path: Path) -> None:
    dataset = rgb(digits, tuple("jihgfedcba"))
    for label in range(10):
        (tmp_path / str(label)).mkdir()
        for number in range(2):
            pixels = np.full((8, 8, 3), 20 * label + number, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / str(label) / f"{number}.png")
    found = read_samples(tmp_path, dataset)
    assert found.images[:, 0, 0, 0].tolist() == [
        20 * label + number for label in range(10) for number in range(2)
    ]
    assert found.labels.tolist() == [label for label in range(10) for _ in range(2)]


def test_numbers_in_names_of_samples_are_ordered_by_value(digits: Dataset, tmp_path: Path) -> None:
    """In a class, the order decides which images stand for it in a shot group."""
    names = ["1", "2", "10", "a1b9", "a1b10", "a01b11", "a2", "b"]
    for label in range(10):
        (tmp_path / str(label)).mkdir()
        for number, name in enumerate(names):
            pixels = np.full((8, 8), 10 * number + label, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / str(label) / f"{name}.png")
    found = read_samples(tmp_path, digits)
    expected = [10 * number for number in range(len(names))]
    assert found.images[found.labels == 0, 0, 0, 0].tolist() == expected


IMAGES = np.zeros((20, 8, 8, 1), dtype=np.uint8)
LABELS = np.arange(20) % 10


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ((IMAGES,), r"no labels \(arr_1\), it holds arr_0"),
        ((IMAGES.astype(np.float32), LABELS), r"images float32 .* allowed: uint8 \(N, 8, 8, 1\)"),
        ((IMAGES.transpose(0, 3, 1, 2), LABELS), r"\(20, 1, 8, 8\); allowed: uint8"),
        ((np.zeros((20, 8, 8, 3), np.uint8), LABELS), r"\(20, 8, 8, 3\); allowed: uint8"),
        ((np.zeros((20, 16, 16, 1), np.uint8), LABELS), r"allowed: uint8 \(N, 8, 8, 1\)"),
        ((IMAGES[0], LABELS), r"\(8, 8, 1\); allowed: uint8"),
        ((IMAGES, LABELS[:-1]), r"labels int64 \(19,\) of 20 images"),
        ((IMAGES, np.eye(20, 10)), r"labels float64 \(20, 10\)"),
        ((IMAGES, LABELS + 1), r"labels of no class of digits: 10; allowed: 0 to 9"),
        ((IMAGES, LABELS - 1), r"labels of no class of digits: -1; allowed: 0 to 9"),
        ((IMAGES, LABELS % 9), r"too few images of: 9 0; allowed: at least 2 of each"),
        ((IMAGES[:0], LABELS[:0]), r"0 0, 1 0, 2 0, 3 0, 4 0, and 5 more; allowed: at least 2"),
        ((IMAGES, np.array(["a"] * 20, dtype=object)), r"cannot be read .*Object arrays"),
    ],
)
def test_what_is_no_npz_of_samples_is_refused(
    digits: Dataset, tmp_path: Path, arrays: tuple[np.ndarray, ...], problem: str
) -> None:
    np.savez(tmp_path / "a.npz", *arrays)
    with pytest.raises(ValueError, match=problem) as error:
        read_samples(tmp_path / "a.npz", digits)
    assert "allowed:" in str(error.value)


def test_other_files_and_no_files_are_refused(digits: Dataset, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_text("no archive")
    for name in ("a.npz", "none.npz"):
        with pytest.raises(ValueError, match="allowed: a folder with a folder of images for each"):
            read_samples(tmp_path / name, digits)


def test_folders_that_do_not_fit_are_refused(digits: Dataset, tmp_path: Path) -> None:
    def refused(problem: str) -> None:
        with pytest.raises(ValueError, match=problem):
            read_samples(tmp_path / "s", digits)

    write_class_folders(random_samples(digits), tmp_path / "s")
    (tmp_path / "s/dog").mkdir()
    refused("holds folders of no class of digits: dog; allowed: 0, 1, 2, 3, 4, and 5 more, or 0")
    (tmp_path / "s/dog").rmdir()
    Image.new("L", (16, 16)).save(tmp_path / "s/3/large.png")
    refused(r"large.png' has 16 x 16 pixels; allowed: 8 x 8")
    (tmp_path / "s/3/large.png").write_text("no image")
    refused("large.png' cannot be read")
    (tmp_path / "s/3/large.png").unlink()
    for image in list((tmp_path / "s/3").iterdir())[1:]:
        image.unlink()
    refused("too few images of: 3 1; allowed: at least 2 of each of the 10 classes")
    for folder in list((tmp_path / "s").iterdir()):
        folder.rename(tmp_path / folder.name)
    refused("s' holds no folders")


def test_two_folders_of_one_class_are_refused(digits: Dataset, tmp_path: Path) -> None:
    dataset = rgb(digits, tuple("jihgfedcba"))
    for name in ("j", "0"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="several folders of one class: 0, j; allowed: one"):
        read_samples(tmp_path, dataset)
