import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.sample_grids import newest_grids, sample_grids_figure
from tests.made.analysed_study import write_checkpoint
from tests.made.drawn import axes_of, sentence_of, text_of
from tests.made.full_card import FINAL
from tests.made.full_study import write_full_study


def test_grids_of_baseline_and_best_are_drawn_pixel_by_pixel(full_study: StudyResults) -> None:
    figure = sample_grids_figure(full_study)
    for label, number in (("baseline", 0), ("best", 1)):
        with Image.open(full_study.folder(number).grid_path(FINAL)) as image:
            stored = np.asarray(image)
        [shown] = axes_of(figure, label).images
        assert np.array_equal(np.asarray(shown.get_array()), stored)
        assert shown.get_interpolation() == "none"
    assert "drawn after 24,000 images" in text_of(figure)


def test_newest_grid_is_taken_and_wide_ones_stand_below_each_other(tmp_path: Path) -> None:
    directory = write_full_study(tmp_path / "full")
    study = load_study(directory)
    for number in (0, 1):
        path = study.folder(number).grid_path(FINAL + 64)
        Image.new("RGB", (340, 34), (number, 0, 0)).save(path)
    assert [path.name for _, path in newest_grids(study)] == ["images_000000024064.png"] * 2
    boxes = [axes.get_position() for axes in sample_grids_figure(study).axes]
    assert boxes[0].x0 == boxes[1].x0 and boxes[0].y0 > boxes[1].y1


def test_columns_have_the_names_of_the_classes(tmp_path: Path) -> None:
    directory = write_full_study(tmp_path / "full")
    write_checkpoint(directory, 0, FINAL, [9, 8, 7])
    axes = axes_of(sample_grids_figure(load_study(directory)), "baseline")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2"]
    assert np.allclose(np.diff(axes.get_xticks()), 80 / 3)


def test_study_without_grids_says_so(tmp_path: Path) -> None:
    directory = write_full_study(tmp_path / "full")
    for folder in (directory / "trials").glob("*/samples"):
        shutil.rmtree(folder)
    figure = sample_grids_figure(load_study(directory))
    assert sentence_of(figure) == "No complete trial has a sample grid yet."
