from pathlib import Path

from diffrop.analysis.data.compare import (
    baseline_trial,
    best_of_each_form,
    comparable_trials,
    contrastive_trials,
    num_incomparable,
)
from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.style import caption
from tests.made.analysed_study import NINE_TRIALS, read_trials, write_study, write_trials


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
