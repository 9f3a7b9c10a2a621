from pathlib import Path

import pandas as pd
import pytest

from diffrop.analysis.data.classes import class_scores
from diffrop.analysis.data.compare import baseline_and_best
from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.class_fid import applies, class_fid_figure
from tests.made.analysed_study import write_checkpoint
from tests.made.drawn import axes_of, lines_of, sentence_of, text_of
from tests.made.full_card import FINAL
from tests.made.full_study import write_full_study


def test_each_class_has_a_marker_of_the_baseline_and_of_the_best(full_study: StudyResults) -> None:
    figure = class_fid_figure(full_study)
    axes = axes_of(figure, "class_fid")
    for trial, label in zip(
        baseline_and_best(full_study), ("t000 baseline", "t001 reciprocal"), strict=True
    ):
        [line] = lines_of(axes, label)
        expected = [trial["fid/all"] + 8 * place for place in range(10)]
        assert line.get_ydata() == pytest.approx(expected)
    assert "N = 100 a class" in text_of(figure)
    assert axes.get_xlabel() == "class, in label order"


def test_classes_have_their_training_images_where_a_checkpoint_says_them(tmp_path: Path) -> None:
    directory = write_full_study(tmp_path / "full")
    write_checkpoint(directory, 0, FINAL, list(range(10, 1_010, 100)))
    axes = axes_of(class_fid_figure(load_study(directory)), "class_fid")
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names[:2] == ["9\n910", "8\n810"]
    assert axes.get_xlabel().startswith("class, the most frequent first")


def test_study_without_scores_of_classes_says_so(study: StudyResults) -> None:
    assert not applies(study)
    assert sentence_of(class_fid_figure(study)).startswith(
        "No complete trial has scores of single"
    )


def test_class_far_above_the_others_is_an_arrow_with_its_number(
    full_study: StudyResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(study: StudyResults, trial: pd.Series) -> pd.DataFrame:
        scores = class_scores(study, trial)
        return scores.assign(value=scores["value"].mask(scores["label"] == 3, 1_234.0))

    (before,) = class_fid_figure(full_study).axes
    monkeypatch.setattr("diffrop.analysis.figures.class_fid.class_scores", spoiled)
    figure = class_fid_figure(full_study)
    axes = axes_of(figure, "class_fid")
    (arrow,) = lines_of(axes, "beyond")
    assert list(arrow.get_xdata()) == [3]
    assert [text.get_text() for text in axes.texts] == ["1,234, 1,234"]  # baseline and best
    assert axes.get_ylim()[1] < 1.4 * before.get_ylim()[1]
    assert "arrow: beyond the axis" in text_of(figure)
