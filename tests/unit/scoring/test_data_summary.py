import dataclasses

import pytest
import torch

from diffrop.config import EvaluationConfig
from diffrop.data import Dataset, LabelledImages
from diffrop.scoring.data_summary import data_lines
from diffrop.scoring.reference_scores import measure_reference_scores
from diffrop.scoring.score import check_scorable
from tests.made.small import pixel_extractor, small_experiment, small_inputs


def dataset(*counts: int, notes: tuple[str, ...] = ()) -> Dataset:
    """Noise of so many images a class; also its own reference."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (len(labels), 1, 8, 8), generator=rng, dtype=torch.uint8)
    names = tuple(f"c{label}" for label in range(len(counts)))
    images = LabelledImages(pixels, labels, names, notes)
    digest = images.digest
    return Dataset("made", images, images, "training images", None, digest, digest)


def objective(name: str):  # type: ignore[no-untyped-def]
    return small_experiment(evaluation__objectives=[name])


def test_counts_of_each_class_are_listed_with_the_groups() -> None:
    lines = "\n".join(data_lines(dataset(9, 4, 1, notes=("Left out: 2.",))))
    assert "14 images in 3 classes (9 ... 1)" in lines
    assert "c0 (9), c1 (4), c2 (1)." in lines
    assert "many (c0), medium (c1), few (c2)." in lines
    assert "fewer than two reference images: few." in lines
    assert lines.count("Left out: 2.") == 1  # of training and reference images alike


def test_hundreds_of_classes_fit_in_a_line() -> None:
    lines = data_lines(dataset(*range(200, 0, -1)))
    assert max(map(len, lines)) < 160
    assert "c0 (200), c1 (199), c2 (198), ..., c197 (3), c198 (2), c199 (1)." in lines[1]
    assert "many (66 classes), medium (68 classes), few (66 classes)" in lines[2]


def test_missing_groups_are_named() -> None:
    assert "many (c0), few (c1); there is no medium." in data_lines(dataset(5, 3))[2]
    assert "none, of a single class" in data_lines(dataset(5))[2]


@pytest.mark.parametrize(
    ("counts", "scored"),
    [
        ((9, 4, 1), {"all", "many", "medium"}),
        ((9, 4), {"all", "many", "few"}),
        ((1, 1, 1), {"all"}),
        ((1, 1), {"all"}),
        ((1, 1, 1, 1, 1, 1), {"all", "many", "medium", "few"}),
        ((6,), {"all"}),
    ],
)
def test_an_objective_is_allowed_exactly_where_it_is_scored(
    counts: tuple[int, ...], scored: set[str]
) -> None:
    data = dataset(*counts)
    report = measure_reference_scores(
        data,
        pixel_extractor(),
        small_inputs(data).reference,
        dataclasses.replace(EvaluationConfig(), num_samples=40),
        torch.device("cpu"),
    )["noise"]
    assert {name for name in report["scores"] if name.startswith("fid/")} == {
        f"fid/{group}" for group in scored
    }
    for group in ("all", "many", "medium", "few"):
        if group in scored:
            check_scorable(objective(f"fid/{group}"), data, [40])
            continue
        with pytest.raises(ValueError, match=rf"objective is fid/{group}, .*; allowed: fid/all"):
            check_scorable(objective(f"fid/{group}"), data, [40])


def test_a_single_reference_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reference has 1 image\(s\).*allowed: at least 2"):
        check_scorable(small_experiment(), dataset(1), [40])
