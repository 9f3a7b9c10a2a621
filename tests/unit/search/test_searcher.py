import math
from collections import Counter
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from diffrop.search.config import StudyConfig
from diffrop.search.searcher import (
    OptunaStudySearcher,
    make_sampler,
    num_remaining,
    num_startup_trials,
)
from tests.small import small_study

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def result(images: int, score: float, final: bool = False) -> dict[str, Any]:
    return {"images_seen": images, "score": score, "final": final}


def searcher(config: StudyConfig, study: optuna.Study | None = None) -> OptunaStudySearcher:
    return OptunaStudySearcher(study or optuna.create_study(), config)


def test_baseline_is_trial_0_and_is_not_drawn_again() -> None:
    config = small_study(num_trials=30)
    found = searcher(config)
    points = [found.suggest(f"r{i}") for i in range(30)]
    forms = [point["values"]["contrastive.form"] for point in points]  # type: ignore[index]
    assert points[0] == {
        "number": 0,
        "baseline": True,
        "values": {"contrastive.form": "none"},
    }
    assert forms.count("none") == 1
    assert found.suggest("r30") == Searcher.FINISHED


def test_states_follow_how_a_trial_ended() -> None:
    study = optuna.create_study()
    found = searcher(small_study(num_trials=5), study)
    for name in "abcde":
        found.suggest(name)
    found.on_trial_result("a", result(64, 50.0))
    found.on_trial_complete("a", result(128, 40.0, final=True))
    found.on_trial_result("b", result(64, 60.0))
    found.on_trial_complete("b", result(64, 60.0))
    found.on_trial_complete("c", result(64, math.nan, final=True))
    found.on_trial_complete("d", {"failure": "non-finite loss at step 3"})
    found.on_trial_complete("e", None, error=True)
    states = [trial.state for trial in study.trials]
    fail = TrialState.FAIL
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, fail, fail, fail]
    assert study.trials[0].intermediate_values == {64: 50.0, 128: 40.0}
    assert study.trials[1].intermediate_values == {64: 60.0}
    assert study.trials[1].value == 60.0
    assert study.trials[3].user_attrs["message"] == "non-finite loss at step 3"
    assert study.best_trial.number == 0


def test_infinite_score_is_never_best() -> None:
    study = optuna.create_study()
    found = searcher(small_study(), study)
    found.suggest("a")
    found.on_trial_complete("a", result(128, -math.inf, final=True))
    assert study.trials[0].state == TrialState.FAIL


def test_unfinished_trials_are_handed_out_first_under_their_numbers() -> None:
    study = optuna.create_study()
    config = small_study(num_trials=4)
    first = searcher(config, study)
    points = [first.suggest(name) for name in "ab"]
    first.on_trial_result("b", result(64, 9.0))
    assert num_remaining(study, config) == 4
    second = searcher(config, study)
    assert [second.suggest(name) for name in "cd"] == points
    second.on_trial_result("d", result(64, 9.0))  # the rung it had reached is reported again
    assert [second.suggest(name)["number"] for name in "ef"] == [2, 3]  # type: ignore[index]
    assert second.suggest("g") == Searcher.FINISHED
    assert len(study.trials) == 4


def simulate(config: StudyConfig, concurrent: int) -> Counter[str]:
    """Run a study of instant trials, the oldest ending first; count where values came from."""
    seen: dict[int, str] = {}

    def spy(name: str, owner: object, method: str) -> None:
        inner = getattr(owner, method)

        def counted(study: optuna.Study, trial: Any, *rest: Any) -> Any:
            seen.setdefault(trial.number, name)
            return inner(study, trial, *rest)

        setattr(owner, method, counted)

    sampler = make_sampler(config, concurrent)
    spy("random", sampler._random_sampler, "sample_independent")
    spy("model", sampler, "_sample")
    found = searcher(config, optuna.create_study(sampler=sampler))
    running: list[str] = []
    for name in map(str, range(config.num_trials)):
        if len(running) == concurrent:
            ended = running.pop(0)
            found.on_trial_complete(ended, result(128, float(ended), final=True))
        found.suggest(name)
        running.append(name)
    return Counter(seen.values())


@pytest.mark.parametrize(("num_trials", "concurrent"), [(9, 1), (9, 2), (20, 4), (30, 15)])
def test_at_least_half_of_the_trials_come_from_the_model(num_trials: int, concurrent: int) -> None:
    origins = simulate(small_study(num_trials=num_trials), concurrent)
    assert origins["model"] >= num_trials / 2
    assert origins["model"] + origins["random"] == num_trials - 1  # and the baseline


def test_there_is_always_a_first_trial_to_learn_from() -> None:
    assert num_startup_trials(4, 16) == 1
