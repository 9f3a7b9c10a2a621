from pathlib import Path

import pytest

from diffrop.analysis.data.classes import class_scores, classes_frame
from diffrop.analysis.data.compare import baseline_trial
from diffrop.analysis.data.load import StudyResults, load_study
from tests.made.analysed_study import write_checkpoint
from tests.made.full_card import FINAL
from tests.made.full_study import write_full_study

COUNTS = [40, 170, 40, 17, 18, 19, 20, 21, 22, 23]


def test_scores_of_classes_are_those_of_the_last_score_file(full_study: StudyResults) -> None:
    baseline = baseline_trial(full_study)
    assert baseline is not None
    found = class_scores(full_study, baseline)
    assert found["label"].tolist() == list(range(10))
    expected = [baseline["fid/all"] + 8 * label for label in range(10)]
    assert found["value"].tolist() == pytest.approx(expected)
    assert (found["high"] - found["low"]).tolist() == pytest.approx([12.0] * 10)
    assert found["num_samples"].eq(100).all() and found["images"].isna().all()


def test_classes_run_from_the_most_frequent_to_the_rarest(tmp_path: Path) -> None:
    directory = write_full_study(tmp_path / "full")
    write_checkpoint(directory, 0, FINAL, COUNTS)
    study = load_study(directory)
    assert classes_frame(study)["images"].tolist() == COUNTS
    found = class_scores(study, study.trials.iloc[0])
    assert found["label"].tolist() == [1, 0, 2, 9, 8, 7, 6, 5, 4, 3]  # equal counts in label order
    assert found["images"].tolist() == sorted(COUNTS, reverse=True)


def test_metric_or_trial_without_scores_of_classes_is_empty(
    full_study: StudyResults, study: StudyResults
) -> None:
    assert class_scores(full_study, full_study.trials.iloc[0], "kid").empty
    assert class_scores(full_study, full_study.trials.iloc[7]).empty  # it failed unscored
    assert class_scores(study, study.trials.iloc[0]).empty
