import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest

from diffrop.analysis.data.compare import (
    FAR,
    baseline_and_best,
    baseline_trial,
    beside_baseline,
    best_of_each_form,
    best_trial,
    broken,
    comparable_trials,
    contrastive_trials,
    num_incomparable,
    order_by,
)
from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.style import caption
from tests.made.analysed_study import NINE_TRIALS, read_trials, write_study, write_trials
from tests.made.spoiled_study import with_worse


def test_comparable_trials_are_the_complete_ones_best_first(study: StudyResults) -> None:
    trials = comparable_trials(study)
    assert trials["number"].tolist() == trials.sort_values("rank")["number"].tolist()
    assert set(trials["state"]) == {"COMPLETE"} and num_incomparable(study) == 0


def test_trial_scored_with_another_n_is_left_out_and_counted(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study")
    rows = read_trials(directory)
    rows[1] |= {"num_samples/all": "5000", "value": "1.0"}
    write_trials(directory, rows)
    study = load_study(directory)
    assert 1 not in comparable_trials(study)["number"].tolist()
    assert num_incomparable(study) == 1
    assert caption(study).endswith("; 1 complete without a comparable score")


def test_trial_scored_with_another_sampler_is_left_out(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study")
    rows = read_trials(directory)
    rows[2]["sampler"] = "ancestral-1000"
    write_trials(directory, rows)
    assert comparable_trials(load_study(directory))["sampler"].unique().tolist() == ["ddim-10"]


def test_complete_trial_whose_score_is_lost_is_left_out(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study")
    rows = read_trials(directory)
    rows[1] |= {"value": "", "rank": "", "num_samples/all": ""}
    write_trials(directory, rows)
    study = load_study(directory)
    assert 1 not in comparable_trials(study)["number"].tolist() and num_incomparable(study) == 1


def test_best_of_each_form_takes_the_baseline_for_none(tmp_path: Path) -> None:
    repeat = (9, "COMPLETE", "none", None, None, None, 3, "")
    study = load_study(write_study(tmp_path / "study", trials=(*NINE_TRIALS, repeat)))
    best = best_of_each_form(study)
    assert sorted(best["number"]) == [0, 1, 2, 3, 4]
    assert contrastive_trials(study)["number"].tolist()[0] == 1
    assert 9 not in contrastive_trials(study)["number"].tolist()


def test_study_without_complete_trials_has_nothing_to_compare(
    unfinished_study: StudyResults,
) -> None:
    assert comparable_trials(unfinished_study).empty and best_of_each_form(unfinished_study).empty
    assert baseline_trial(unfinished_study) is None


def test_order_by_an_objective_of_ones_own(full_study: StudyResults) -> None:
    found = order_by(full_study, lambda trial: trial["fid/all"] - 2 * trial["fid/few"])
    trials = comparable_trials(full_study).set_index("number")
    own = trials["fid/all"] - 2 * trials["fid/few"]
    assert found["number"].tolist() == own.sort_values().index.tolist()
    assert found["own_rank"].tolist() == list(range(1, len(trials) + 1))
    difference = found.set_index("number")["own_difference"]
    assert difference[0] == 0 and difference[1] == pytest.approx(own[1] - own[0])
    assert found["number"].tolist() != trials.index.tolist()


def test_trial_without_the_score_of_an_objective_is_last_and_has_no_rank(
    full_study: StudyResults,
) -> None:
    found = order_by(full_study, lambda trial: math.nan if trial["number"] == 1 else 1.0)
    assert found["number"].iloc[-1] == 1 and found["own_rank"].isna().tolist()[-1]
    assert found["own_rank"].notna().sum() == len(found) - 1


def test_objective_that_is_no_number_is_refused(full_study: StudyResults) -> None:
    with pytest.raises(ValueError, match="the objective of a trial is no number"):
        order_by(full_study, lambda trial: trial["form"])


def test_best_trial_meets_the_constraints(full_study: StudyResults) -> None:
    trials = full_study.trials
    spoilt = trials.assign(feasible=trials["feasible"].where(trials["number"] != 1, other=False))
    study = dataclasses.replace(full_study, trials=spoilt)
    assert [trial["number"] for trial in baseline_and_best(full_study)] == [0, 1]
    best = best_trial(study)
    allowed = trials[trials["number"] != 1]
    expected = contrastive_trials(dataclasses.replace(full_study, trials=allowed)).iloc[0]
    assert best is not None and best["number"] == expected["number"] != 1


@pytest.mark.parametrize(
    ("values", "beyond"),
    [
        ([40.0, 61.0], [False, True]),  # of two the lower is the median
        ([61.0, 40.0], [True, False]),
        ([40.0, 60.0], [False, False]),
        ([40.0], [False]),
        ([40.0, math.nan, 400.0], [False, False, True]),
        ([40.0, 41.0, 400.0, 410.0], [False, False, True, True]),
        ([], []),
    ],
)
def test_broken_scores_are_far_above_the_median(values: list[float], beyond: list[bool]) -> None:
    assert broken(pd.Series(values, dtype=float)).tolist() == beyond


def test_scores_of_unlike_things_are_broken_later() -> None:
    values = pd.Series([40.0, 119.0, 121.0])
    assert broken(values, among=values[:1], times=FAR).tolist() == [False, False, True]


@pytest.mark.parametrize("score", ["", "fid/few"])
def test_only_form_is_broken_beside_the_baseline(tmp_path: Path, score: str) -> None:
    study = load_study(write_study(tmp_path / "study", trials=NINE_TRIALS[:2]))
    spoiled = with_worse(study, [1], 1.6)
    found = beside_baseline(spoiled, contrastive_trials(spoiled), score)
    assert found["beyond"].tolist() == [True]
    assert not beside_baseline(study, contrastive_trials(study), score)["beyond"].any()
