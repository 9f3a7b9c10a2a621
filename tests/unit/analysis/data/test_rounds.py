from diffrop.analysis.data.compare import comparable_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.rounds import omega_rows
from tests.made.full_card import OMEGAS


def test_curves_over_omega_are_of_one_round(full_study: StudyResults) -> None:
    numbers = comparable_trials(full_study)["number"].tolist()
    rows = omega_rows(full_study, numbers, "fid/few")
    assert rows["round_samples"].unique().tolist() == [250]
    assert rows["num_samples"].unique().tolist() == [75]
    assert (rows.groupby("number")["omega"].nunique() == len(OMEGAS)).all()
    assert rows["final"].all() and rows["sampler"].unique().tolist() == ["ddim-16"]
