import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffrop.config import DataConfig
from diffrop.data import datasets, load_dataset
from tests.made.faults import fault


def write_folder(root: Path, counts: dict[str, int], size: tuple[int, int] = (40, 30)) -> None:
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")


def folder(root: Path, factor: float | None = None, size: int | None = 16) -> DataConfig:
    return DataConfig(
        dataset="image_folder", root=str(root), imbalance_factor=factor, image_size=size
    )


def test_digits_are_long_tailed_and_keep_the_full_reference() -> None:
    dataset = load_dataset(DataConfig())
    assert dataset.train.class_counts == [170, 131, 101, 78, 61, 47, 36, 28, 21, 17]
    assert len(dataset.reference.labels) == 1797
    assert dataset.train.images.dtype == torch.uint8
    assert dataset.train.images.max() == 255


def test_folder_keeps_its_own_counts_and_class_names(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 5, "dog": 2})
    dataset = load_dataset(folder(tmp_path))
    assert dataset.train.class_names == ("cat", "dog")
    assert dataset.train.class_counts == [5, 2]
    assert dataset.image_shape == (3, 16, 16)


def test_images_to_train_on_keep_the_order_of_their_names_as_texts(tmp_path: Path) -> None:
    """It decides which images a long tail keeps, and so is part of what a training is."""
    write_folder(tmp_path, {"a": 11, "b": 11}, (16, 16))
    read = load_dataset(folder(tmp_path)).train.images[:11].permute(0, 2, 3, 1).numpy()
    names = sorted(f"{number}.png" for number in range(11))
    assert names[:3] == ["0.png", "1.png", "10.png"]
    for pixels, name in zip(read, names, strict=True):
        np.testing.assert_array_equal(pixels, np.asarray(Image.open(tmp_path / "a" / name)))


def test_folder_made_long_tailed_starts_at_its_rarest_class(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 12, "b": 10, "c": 11})
    assert load_dataset(folder(tmp_path, 0.1)).train.class_counts == [10, 3, 1]


def test_image_of_the_right_size_is_read_unchanged(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 1, "b": 1}, (16, 16))
    pixels = np.asarray(Image.open(tmp_path / "a" / "0.png"))
    read = load_dataset(folder(tmp_path)).train.images[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(read, pixels)


def test_grey_and_palette_images_become_rgb(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 1, "b": 1})
    Image.new("L", (16, 16), 77).save(tmp_path / "b" / "0.png")
    assert load_dataset(folder(tmp_path)).train.images[1].unique().tolist() == [77]


@fault(22, "an empty class")
def test_empty_class_folder_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 1})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"class folder '.*empty' holds no image"):
        load_dataset(folder(tmp_path))


@fault(22, "a corrupt image")
def test_corrupt_image_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 2, "b": 1})
    path = tmp_path / "a" / "1.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"image '.*1\.png' cannot be read"):
        load_dataset(folder(tmp_path))


def test_missing_folder_of_images_is_named() -> None:
    with pytest.raises(ValueError, match=r"data root.*/nowhere"):
        load_dataset(DataConfig(dataset="image_folder", root="/nowhere"))


def test_folder_to_download_into_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "not" / "there"
    asked = []

    def without_network(folder: str, **_: bool) -> None:
        assert Path(folder).is_dir()
        asked.append(folder)
        raise RuntimeError("no network")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", without_network)
    with pytest.raises(ValueError, match=r"CIFAR10 is not in .* could not be downloaded \(no net"):
        load_dataset(DataConfig(dataset="cifar10", root=str(root)))
    assert asked == [str(root)]


def test_folder_to_download_into_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"CIFAR10 is not in '.*file/data' and could not be"):
        load_dataset(DataConfig(dataset="cifar10", root=str(tmp_path / "file" / "data")))


def test_damaged_images_are_left_out_on_request_and_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 3, "b": 2})
    whole = load_dataset(folder(tmp_path)).train
    for name in ("0.png", "2.png"):
        (tmp_path / "a" / name).write_bytes(b"no image")
    config = folder(tmp_path)
    with pytest.raises(ValueError, match=r"'.*a/0\.png' cannot be read .*--skip-damaged"):
        load_dataset(config)
    data = load_dataset(dataclasses.replace(config, skip_damaged=True))
    assert data.train.class_counts == [1, 2]
    assert torch.equal(data.train.images, whole.images[[1, 3, 4]])
    (note,) = data.train.notes
    assert "2 damaged image(s) of 5: " in note and "a/0.png" in note and "a/2.png" in note
    assert data.train_digest != whole.digest  # so that no training of theirs is taken for ours


def test_class_of_damaged_images_alone_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "b" / "0.png").write_bytes(b"")
    config = dataclasses.replace(folder(tmp_path), skip_damaged=True)
    with pytest.raises(ValueError, match=r"class folder '.*b' holds no image that can be read"):
        load_dataset(config)


@fault(38, "folders and files that systems leave behind")
def test_what_systems_leave_is_no_class_and_no_image(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 2, "b": 1})
    expected = load_dataset(folder(tmp_path)).train
    for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git"):
        write_folder(tmp_path, {name: 1})
        write_folder(tmp_path / "a", {name: 1})
    for name in (".DS_Store", "Thumbs.db", "._0.png", "a/._0.png", "a/.DS_Store", "b/Thumbs.db"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    found = load_dataset(folder(tmp_path)).train
    assert (found.class_names, found.digest, found.notes) == (("a", "b"), expected.digest, ())


def test_files_that_are_no_images_are_left_out_and_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 2, "b": 1})
    for name in ("README", "a/x.heic", "a/y.HEIC", "b/labels.txt"):
        (tmp_path / name).write_text("x")
    (note,) = load_dataset(folder(tmp_path)).train.notes
    assert "4 file(s)" in note and "(.heic 2, no suffix 1, .txt 1)" in note


def test_every_kind_of_image_is_read_whatever_the_case_of_its_suffix(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 1, "b": 1})
    image = Image.new("RGB", (8, 8), "red")
    names = ["1.GIF", "2.tif", "3.TIFF", "4.JPG", "5.bmp", "6.webp", "7.ppm", "8.Jpeg"]
    for name in names:
        image.save(tmp_path / "a" / name)
    image.save(tmp_path / "a" / "9.jfif", format="JPEG")
    data = load_dataset(folder(tmp_path)).train
    assert (data.class_counts, data.notes) == ([2 + len(names), 1], ())


@fault(38, "folders of train, test and val side by side")
def test_folder_of_splits_is_refused_naming_the_one_to_train_on(tmp_path: Path) -> None:
    for split in ("test", "train", "val"):
        write_folder(tmp_path / split, {"cat": 1, "dog": 1})
    with pytest.raises(ValueError, match=rf"such as --data-root {tmp_path}/train\.") as caught:
        load_dataset(folder(tmp_path))
    assert "holds test, train, val" in str(caught.value)
    own = DataConfig(reference_root=str(tmp_path))
    with pytest.raises(ValueError, match=rf"such as --reference-root {tmp_path}/train\."):
        load_dataset(own)


def test_folder_inside_a_class_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 1, "dog": 1})
    write_folder(tmp_path / "dog", {"more": 1})
    with pytest.raises(ValueError, match=r"'.*dog' holds the folder 'more'.*To fix: move"):
        load_dataset(folder(tmp_path))


def test_class_name_of_any_bytes_becomes_text(tmp_path: Path) -> None:
    write_folder(tmp_path, {"\u732b": 1, os.fsdecode(b"caf\xe9"): 1})
    names = load_dataset(folder(tmp_path)).train.class_names
    assert names == (r"caf\xe9", "\u732b") or names == ("\u732b", r"caf\xe9")
    "".join(names).encode()  # no half of a pair, which no file or terminal takes


def test_unknown_dataset_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"dataset is 'mnist'; allowed: digits, cifar10"):
        load_dataset(DataConfig(dataset="mnist"))


def test_digest_depends_on_pixels_and_labels() -> None:
    data = load_dataset(DataConfig()).train
    changed = data.images.clone()
    changed[0, 0, 0, 0] += 1
    other = type(data)(changed, data.labels, data.class_names)
    swapped = type(data)(data.images, data.labels.flip(0), data.class_names)
    assert len({data.digest, other.digest, swapped.digest}) == 3


def folder_of(root: Path, names: tuple[str, ...], value: int = 0) -> str:
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (8, 8), (value + number, 9, 9)).save(root / name / f"{number}.png")
    return str(root)


def test_images_that_the_long_tail_left_out_are_held_out() -> None:
    data = load_dataset(DataConfig())
    assert data.heldout is not None
    assert len(data.heldout.labels) + len(data.train.labels) == len(data.reference.labels)
    assert data.heldout.class_counts == [
        whole - kept
        for whole, kept in zip(data.reference.class_counts, data.train.class_counts, strict=True)
    ]
    assert load_dataset(DataConfig(imbalance_factor=None)).heldout is None


def test_reference_is_named_and_says_where_classes_are_weighted(tmp_path: Path) -> None:
    assert load_dataset(DataConfig()).reference_name == "full training set, class-weighted"
    root = folder_of(tmp_path / "train", ("cat", "dog"))
    config = DataConfig(dataset="image_folder", root=root, image_size=8, imbalance_factor=None)
    assert load_dataset(config).reference_name == "training images"


def test_reference_can_be_a_folder_of_ones_own(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "train", ("cat", "dog"))
    own = folder_of(tmp_path / "real", ("cat", "dog"), value=100)
    config = DataConfig(
        dataset="image_folder", root=root, image_size=8, imbalance_factor=0.5, reference_root=own
    )
    data = load_dataset(config)
    assert data.reference_name == f"images of real ({data.reference_digest[:8]})"
    assert data.reference.images[:, 0].min() == 100 and data.train.images[:, 0].max() == 2
    other = folder_of(tmp_path / "other", ("cat", "cow"))
    with pytest.raises(ValueError, match=r"has the classes cat, cow; allowed: cat, dog"):
        load_dataset(dataclasses.replace(config, reference_root=other))


def test_reference_folder_of_a_grey_set_is_read_as_grey(tmp_path: Path) -> None:
    own = folder_of(tmp_path / "real", tuple("0123456789"))
    data = load_dataset(DataConfig(reference_root=own))
    assert data.reference.images.shape == (30, 1, 8, 8)


def test_test_split_as_reference_is_refused_where_there_is_none() -> None:
    with pytest.raises(
        ValueError, match=r"digits has no test split\. To fix: take train, .*--refer"
    ):
        load_dataset(DataConfig(reference="heldout"))


def test_test_split_is_the_reference_and_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    full = load_dataset(DataConfig()).reference
    halves = [full.subset(torch.arange(len(full.labels)) % 2 == half) for half in (0, 1)]
    source = datasets.Source(lambda config, tell: halves[0], 20, lambda config, tell: halves[1])
    monkeypatch.setitem(datasets.DATASETS, "digits", source)
    data = load_dataset(DataConfig(reference="heldout"))
    assert data.reference is data.heldout is halves[1]
    assert data.reference_name == "test images, class-weighted"
    assert load_dataset(DataConfig()).reference is halves[0]
