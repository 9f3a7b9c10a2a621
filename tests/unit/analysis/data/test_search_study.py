import dataclasses

import optuna

from diffrop.analysis.data.compare import comparable_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.search_study import optuna_study


def test_optuna_gets_the_comparable_trials_with_their_types(full_study: StudyResults) -> None:
    rebuilt = optuna_study(full_study)
    complete = comparable_trials(full_study)
    complete = complete[~complete["baseline"]].sort_values("number")
    assert [trial.value for trial in rebuilt.trials] == complete["value"].tolist()
    hinge = rebuilt.trials[complete["number"].tolist().index(3)]
    assert hinge.params["form"] == "hinge" and hinge.params["margin"] == 1.02
    assert "margin" not in rebuilt.trials[0].params
    assert hinge.distributions["tau_0"] == optuna.distributions.FloatDistribution(
        0.1, 100.0, log=True
    )


def test_value_outside_the_space_widens_the_range_of_all_trials(full_study: StudyResults) -> None:
    trials = full_study.trials.copy()
    trials.loc[trials["number"] == 1, ["form", "tau_0"]] = ["new", 1_000.0]
    rebuilt = optuna_study(dataclasses.replace(full_study, trials=trials))
    assert len({str(trial.distributions["form"]) for trial in rebuilt.trials}) == 1
    assert {trial.distributions["tau_0"].high for trial in rebuilt.trials} == {1_000.0}
    assert "new" in rebuilt.trials[0].distributions["form"].choices
