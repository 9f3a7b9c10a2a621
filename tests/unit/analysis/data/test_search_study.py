import optuna

from analysis.data.compare import comparable_trials
from analysis.data.load import StudyResults
from analysis.data.search_study import optuna_study


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
