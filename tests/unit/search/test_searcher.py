import dataclasses
import math
from collections import Counter
from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import TrialState
from ray.tune.search import Searcher

from diffrop.record.trial_state import FROM_PRIOR
from diffrop.search.ownership import num_remaining
from diffrop.search.sampler_view import num_startup_trials
from diffrop.search.searcher import OptunaStudySearcher
from diffrop.study.config import StudyConfig
from diffrop.study.space import Parameter, SearchSpace
from tests.made.small import small_study


def result(images: int, score: float, final: bool = False) -> dict[str, Any]:
    return {"images_seen": images, "score": score, "final": final}


def searcher(
    config: StudyConfig, study: optuna.Study | None = None, **settings: Any
) -> OptunaStudySearcher:
    return OptunaStudySearcher(study or optuna.create_study(), config, **settings)


def numbers(found: OptunaStudySearcher, names: str) -> list[Any]:
    points = [found.suggest(name) for name in names]
    return [point["number"] if isinstance(point, dict) else point for point in points]


def test_baseline_is_trial_0_and_is_not_drawn_again() -> None:
    found = searcher(small_study(num_trials=30))
    points = [found.suggest(f"r{i}") for i in range(30)]
    forms = [point["values"]["contrastive.form"] for point in points]  # type: ignore[index]
    assert points[0] == {
        "number": 0,
        "baseline": True,
        "values": {"contrastive.form": "none"},
        "parent": None,
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
    found.stop("b", 64)
    found.on_trial_complete("b", result(64, 60.0))
    found.on_trial_complete("c", result(128, math.nan, final=True))
    found.on_trial_complete("d", {"failure": "non-finite loss at step 3"})
    found.on_trial_complete("e", None, error=True)
    states = [trial.state for trial in study.trials]
    fail = TrialState.FAIL
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, fail, fail, fail]
    assert study.trials[0].intermediate_values == {64: 50.0, 128: 40.0}
    assert study.trials[0].user_attrs["rungs"] == {
        "64": {"values": [50.0], "num_samples": 20},
        "128": {"values": [40.0], "num_samples": 40},
    }
    assert study.trials[1].intermediate_values == {64: 60.0}
    assert study.trials[1].value == 60.0
    assert study.trials[3].user_attrs["message"] == "non-finite loss at step 3"
    assert ["failure" in trial.user_attrs for trial in study.trials[2:]] == [True, True, False]
    assert study.best_trial.number == 0


def test_trial_that_returns_early_stays_open_for_the_next_launch() -> None:
    study, config = optuna.create_study(), small_study(num_trials=3)
    found = searcher(config, study)
    numbers(found, "abc")
    found.on_trial_complete("a", {})  # nothing was reported yet
    found.on_trial_complete("b", result(64, 5.0))
    found.on_trial_complete("c", result(128, 5.0, final=True))
    assert found.suggest("d") == Searcher.FINISHED  # and not begun again here
    assert num_remaining(study, config) == 2
    assert numbers(searcher(config, study), "ef") == [0, 1]


def test_infinite_score_is_never_best() -> None:
    study = optuna.create_study()
    found = searcher(small_study(), study)
    found.suggest("a")
    found.on_trial_complete("a", result(128, -math.inf, final=True))
    assert study.trials[0].state == TrialState.FAIL


def test_database_shows_the_ranges_that_values_were_drawn_from() -> None:
    study, config = optuna.create_study(), small_study(num_trials=4)
    found = searcher(config, study)
    points = [found.suggest(name) for name in "abcd"]
    for trial, point in zip(study.trials[1:], points[1:], strict=True):
        assert trial.params == trial.user_attrs["values"] == point["values"]  # type: ignore[index]
        for parameter in config.space.parameters:
            if parameter.name in trial.params:
                assert trial.distributions[parameter.name] == parameter.distribution()


def test_unfinished_trials_are_handed_out_first_under_their_numbers() -> None:
    study = optuna.create_study()
    config = small_study(num_trials=4)
    first = searcher(config, study)
    points = [first.suggest(name) for name in "ab"]
    first.on_trial_result("b", result(64, 9.0))
    assert num_remaining(study, config) == 4
    second = searcher(config, study)
    assert [second.suggest(name) for name in "cd"] == points
    second.on_trial_result("d", result(64, 9.5))  # the rung it had reached is reported again
    assert study.trials[1].intermediate_values == {64: 9.0}
    assert numbers(second, "efg") == [2, 3, Searcher.FINISHED]
    assert len(study.trials) == 4


def test_trial_that_was_left_before_it_had_its_values_gets_them() -> None:
    study, config = optuna.create_study(), small_study(num_trials=3)
    searcher(config, study).suggest("a")
    study.sampler = RandomSampler(seed=0)
    half = study.ask()
    half.suggest_categorical("contrastive.form", config.space.parameters[0].choices)
    form = half.params["contrastive.form"]
    found = searcher(config, study)
    found.suggest("b")
    point = found.suggest("c")
    assert isinstance(point, dict)
    assert point["number"] == 1 and point["values"]["contrastive.form"] == form
    assert study.trials[1].params == point["values"]


def test_resumed_study_does_not_repeat_its_random_points() -> None:
    config = small_study(num_trials=6, sampler="random")
    study = optuna.create_study()
    first = searcher(config, study)
    for name in "abc":
        first.suggest(name)
        first.on_trial_complete(name, result(128, 1.0, final=True))
    second = searcher(config, study)
    for name in "def":
        second.suggest(name)
    whole = optuna.create_study()
    once = searcher(config, whole)
    for name in "abcdef":
        once.suggest(name)
    assert [t.params for t in study.trials] == [t.params for t in whole.trials]
    strengths = [trial.params["contrastive.tau_0"] for trial in study.trials[1:]]
    assert len(set(strengths)) == 5


def test_given_points_come_after_the_baseline_and_what_they_leave_out_is_drawn() -> None:
    points = (
        {"contrastive.form": "hinge", "contrastive.margin": 1.01},
        {"contrastive.tau_0": 3},
    )
    study, config = optuna.create_study(), small_study(num_trials=4, points=points)
    found = searcher(config, study)
    tried = [found.suggest(name)["values"] for name in "abcd"]  # type: ignore[index]
    assert tried[1]["contrastive.form"] == "hinge" and tried[1]["contrastive.margin"] == 1.01
    assert "contrastive.tau_0" in tried[1]
    assert tried[2]["contrastive.tau_0"] == 3
    assert tried[3] not in (tried[1], tried[2])
    assert study.trials[1].params == tried[1]


def test_spent_budget_begins_nothing() -> None:
    study = optuna.create_study()
    found = searcher(small_study(), study, may_begin=lambda: False)
    assert found.suggest("a") == Searcher.FINISHED
    assert study.trials == []


def test_same_point_again_says_so() -> None:
    parameter = Parameter(name="training.seed", choices=(5,), source="the test's own")
    config = dataclasses.replace(
        small_study(num_trials=3), space=SearchSpace(parameters=(parameter,))
    )
    study = optuna.create_study()
    found = searcher(config, study)
    for name in "abc":
        found.suggest(name)
        found.on_trial_complete(name, result(128, 1.0, final=True))
    messages = [trial.user_attrs.get("message") for trial in study.trials]
    assert messages == [None, None, "the same point as trial 1"]


def test_trial_that_was_left_before_it_had_its_values_is_what_it_was_to_be() -> None:
    space = small_study().space
    form = space.parameters[0]
    believed = dataclasses.replace(form, prior=form.choices[-1], confidence="high")
    space = dataclasses.replace(space, parameters=(believed, *space.parameters[1:]))
    point = {"contrastive.form": form.choices[0], "contrastive.tau_0": 1.25}
    config = dataclasses.replace(small_study(num_trials=20, points=(point,)), space=space)
    seen = []
    for left in (False, True):
        study = optuna.create_study()
        if left:
            for _ in range(6):  # the earlier process was killed before any value was drawn
                study.ask()
        found = searcher(config, study)
        numbers(found, "abcdef")
        seen.append(
            [(t.params, t.user_attrs["values"], FROM_PRIOR in t.user_attrs) for t in study.trials]
        )
    assert seen[0] == seen[1]
    took = [near for _, _, near in seen[0]]
    assert took[:2] == [False, False] and True in took
    assert seen[0][1][0].items() >= point.items()


def test_stopped_trial_is_replaced_by_a_child_of_a_leader() -> None:
    study = optuna.create_study()
    config = small_study(num_trials=8, scheduler="pbt")
    found = searcher(config, study)
    assert numbers(found, "abcd") == [0, 1, 2, 3]
    for name, score in zip("abcd", (9.0, 1.0, 2.0, 8.0), strict=True):
        found.on_trial_result(name, result(64, score))
    found.stop("d", 64)
    found.on_trial_complete("d", result(64, 8.0))
    child = found.suggest("e")
    assert isinstance(child, dict)
    assert child["parent"] in ({"trial": 1, "images": 64}, {"trial": 2, "images": 64})
    attributes = study.trials[4].user_attrs
    assert attributes["parent"] == child["parent"] and attributes["replaces"] == 3
    assert study.trials[4].params == child["values"]
    again = searcher(config, study)  # what has a child gets no other
    points = [again.suggest(name) for name in "fghijk"]
    parents = {p["number"]: p["parent"] for p in points if isinstance(p, dict)}
    assert parents[4] == child["parent"]
    assert parents[5] is None and parents[6] is None


def test_child_needs_a_checkpoint_to_start_from() -> None:
    found = searcher(
        small_study(num_trials=8, scheduler="pbt"), forkable=lambda number, images: False
    )
    numbers(found, "abc")
    for name, score in zip("abc", (9.0, 1.0, 8.0), strict=True):
        found.on_trial_result(name, result(64, score))
    found.stop("c", 64)
    found.on_trial_complete("c", result(64, 8.0))
    point = found.suggest("d")
    assert isinstance(point, dict) and point["parent"] is None


def origins(config: StudyConfig, concurrent: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Run a study of instant trials, the oldest ending first; count where values came from."""
    seen: dict[int, str] = {}

    def spy(name: str, owner: type, method: str) -> None:
        inner = getattr(owner, method)

        def counted(self: Any, study: optuna.Study, trial: Any, *rest: Any) -> Any:
            seen.setdefault(trial.number, name)
            return inner(self, study, trial, *rest)

        monkeypatch.setattr(owner, method, counted)

    spy("random", RandomSampler, "sample_independent")
    spy("model", TPESampler, "_sample")
    found = searcher(config, max_concurrent=concurrent)
    running: list[str] = []
    for name in map(str, range(config.num_trials)):
        if len(running) == concurrent:
            ended = running.pop(0)
            found.on_trial_complete(ended, result(128, float(ended), final=True))
        found.suggest(name)
        running.append(name)
    return Counter(seen.values())


@pytest.mark.parametrize(("num_trials", "concurrent"), [(9, 1), (9, 2), (20, 4), (30, 15)])
def test_at_least_half_of_the_trials_come_from_the_model(
    num_trials: int, concurrent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = origins(small_study(num_trials=num_trials), concurrent, monkeypatch)
    assert found["random"] <= num_trials / 2
    assert found["model"] + found["random"] == num_trials - 1  # and the baseline


def test_there_is_always_a_first_trial_to_learn_from() -> None:
    assert num_startup_trials(4, 16) == 1
