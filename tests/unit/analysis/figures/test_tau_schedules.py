from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures.tau_schedules import (
    KEY,
    num_schedules,
    tau_schedules_figure,
    with_schedules,
)
from tests.made.full_study import SCHEDULES


def test_schedules_that_were_not_searched_are_the_experiments(
    study: StudyResults, full_study: StudyResults
) -> None:
    assert set(with_schedules(study).trials[KEY]) == {"exponential"} and num_schedules(study) == 1
    assert num_schedules(full_study) == len(SCHEDULES)
    labels = [tick.get_text() for tick in tau_schedules_figure(study).axes[0].get_yticklabels()]
    assert labels == ["baseline", "exponential tau\n5 of 8 trials"]
