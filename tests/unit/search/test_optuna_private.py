import optuna
from optuna.samplers import NSGAIISampler
from optuna.trial import TrialState

from diffrop.search.optuna_private import (
    GENERATION_KEY,
    add_running_trial,
    ask_in_generation,
    open_trial,
)

RANGE = optuna.distributions.FloatDistribution(0.0, 1.0)
POINT = optuna.trial.create_trial(value=1.0, params={"x": 0.25}, distributions={"x": RANGE})


def test_generation_is_stored_where_nsga2_looks_for_it() -> None:
    assert NSGAIISampler._get_generation_key() == GENERATION_KEY
    study = optuna.create_study()
    asked = ask_in_generation(study, 3)
    assert study.trials[asked.number].system_attrs[GENERATION_KEY] == 3


def test_trial_that_was_left_running_can_be_ended() -> None:
    study = optuna.create_study()
    number = study.ask().number
    opened = open_trial(study, study.get_trials()[number])
    opened.report(2.0, 1)
    study.tell(opened, 1.0)
    assert study.trials[number].state == TrialState.COMPLETE
    assert study.trials[number].intermediate_values == {1: 2.0}


def test_added_trial_runs_at_the_given_point() -> None:
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage)
    added = add_running_trial(study, storage, POINT, generation=2)
    (found,) = study.trials
    assert found.state == TrialState.RUNNING and found.params == {"x": 0.25}
    assert found.system_attrs == {GENERATION_KEY: 2}
    study.tell(added, 5.0)
    assert study.trials[0].value == 5.0
