import dataclasses

import pytest

from diffrop.analysis.data.compare import comparable_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.rounds import measured, omega_rows
from tests.made.full_card import OMEGAS


def test_curves_over_omega_are_of_one_round(full_study: StudyResults) -> None:
    numbers = comparable_trials(full_study)["number"].tolist()
    rows = omega_rows(full_study, numbers, "fid/all")
    assert rows["round_samples"].unique().tolist() == [250]
    assert rows["num_samples"].unique().tolist() == [250]
    assert (rows.groupby("number")["omega"].nunique() == len(OMEGAS)).all()
    assert rows["final"].all() and rows["sampler"].unique().tolist() == ["ddim-16"]


def test_round_of_few_samples_gives_no_curve_and_no_other_takes_its_place(
    full_study: StudyResults,
) -> None:
    numbers = comparable_trials(full_study)["number"].tolist()
    assert omega_rows(full_study, numbers, "fid/few").empty  # its widest round has 75 of them


@pytest.mark.parametrize(("count", "shown"), [(36, False), (99, False), (100, True), (None, True)])
def test_score_is_measured_by_the_number_of_its_own_samples(
    full_study: StudyResults, count: int | None, shown: bool
) -> None:
    rows = full_study.measurements
    few = rows["num_samples"].mask(rows["score"] == "fid/few", count)
    study = dataclasses.replace(full_study, measurements=rows.assign(num_samples=few))
    assert measured(study, "fid/few").empty != shown
    assert (measured(study, "fid/all")["num_samples"] >= 100).all()
