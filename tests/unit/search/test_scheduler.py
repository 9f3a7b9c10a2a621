import dataclasses
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler

from diffrop.search import searcher as searcher_module
from diffrop.search.ownership import PeerDrivers
from diffrop.search.scheduler import StudyScheduler
from diffrop.search.searcher import OptunaStudySearcher
from diffrop.study.config import StudyConfig
from tests.made.small import small_experiment, small_study

GOES_ON, STOPS = str(TrialScheduler.CONTINUE), str(TrialScheduler.STOP)


class Driver:
    """Searcher and scheduler as Tune calls them, without Tune."""

    def __init__(self, config: StudyConfig, study: optuna.Study) -> None:
        self.study, self.config = study, config
        self.searcher = OptunaStudySearcher(study, config)
        self.scheduler = StudyScheduler(config, self.searcher)
        self.trials: dict[int, Any] = {}

    def begin(self, count: int = 1) -> list[int]:
        begun = []
        for _ in range(count):
            name = f"r{id(self)}-{len(self.trials)}"
            point = self.searcher.suggest(name)
            assert isinstance(point, dict)
            self.trials[point["number"]] = SimpleNamespace(trial_id=name, config=point)
            begun.append(point["number"])
        return begun

    def report(self, number: int, images: int, score: float, **more: Any) -> str:
        result = {"images_seen": images, "score": score, "final": images == 128, **more}
        who = self.trials[number]
        decision = self.scheduler.on_trial_result(None, who, result)
        if decision == STOPS or result["final"]:
            self.searcher.on_trial_complete(who.trial_id, result)
        else:
            self.searcher.on_trial_result(who.trial_id, result)
        return decision


def driver(num_trials: int = 12, **changes: Any) -> Driver:
    config = small_study(num_trials=num_trials, **changes)
    return Driver(config, optuna.create_study())


def test_worse_half_is_stopped_at_the_rung_but_never_the_baseline() -> None:
    found = driver()
    found.begin(4)
    assert found.report(1, 64, 10.0) == GOES_ON
    assert found.report(2, 64, 20.0) == STOPS
    assert found.report(0, 64, 99.0) == GOES_ON
    assert found.report(3, 64, 5.0) == GOES_ON
    states = [trial.state for trial in found.study.trials]
    assert states == [TrialState.RUNNING] * 2 + [TrialState.PRUNED] + [TrialState.RUNNING]
    assert found.study.trials[2].user_attrs["stopped_at"] == 64


def test_finished_trial_is_not_stopped() -> None:
    found = driver()
    found.begin(3)
    found.report(1, 128, 10.0)
    assert found.report(2, 128, 99.0) == GOES_ON
    assert found.study.trials[2].state == TrialState.COMPLETE


def test_failed_result_without_a_score_goes_on_to_its_end() -> None:
    found = driver()
    found.begin()
    who = found.trials[0]
    assert found.scheduler.on_trial_result(None, who, {"failure": "x"}) == GOES_ON


def test_scores_of_earlier_launches_count() -> None:
    before = driver()
    before.begin(3)
    before.report(1, 64, 1.0)
    before.report(2, 64, 2.0)
    after = Driver(before.config, before.study)
    after.begin(4)
    assert after.report(3, 64, 50.0) == STOPS


def test_scores_of_other_drivers_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher_module, "REFRESH_S", -1.0)
    one = driver()
    other = Driver(one.config, one.study)
    one.begin(2)
    monkeypatch.setattr(other.searcher, "_peers", PeerDrivers("b", lambda driver: True))
    other.begin()
    one.report(1, 64, 3.0)
    assert other.report(2, 64, 4.0) == STOPS


def test_audited_trial_runs_on_and_its_later_scores_stop_nobody() -> None:
    found = driver(audit_fraction=1.0, first_rung_images=32)
    found.begin(4)
    found.report(1, 32, 1.0)
    assert found.report(2, 32, 2.0) == GOES_ON
    assert found.study.trials[2].user_attrs["audited_at"] == 32
    found.report(2, 64, 0.5)  # would be the best there
    assert found.report(1, 64, 1.0) == GOES_ON
    assert "audited_at" not in found.study.trials[1].user_attrs
    found.report(2, 128, 0.1)
    ended = found.study.trials[2]
    assert ended.state == TrialState.COMPLETE
    assert "was to stop at 32 images" in ended.user_attrs["message"]


def test_audit_is_the_same_after_a_restart() -> None:
    before = driver(audit_fraction=1.0, first_rung_images=32)
    before.begin(3)
    before.report(1, 32, 1.0)
    before.report(2, 32, 2.0)
    after = Driver(before.config, before.study)
    after.begin(3)
    after.report(2, 64, 0.5)
    assert after.report(1, 64, 1.0) == GOES_ON
    assert "audited_at" not in after.study.trials[1].user_attrs


def test_hyperband_spares_trials_of_later_brackets() -> None:
    found = driver(scheduler="hyperband", num_trials=16)
    numbers = found.begin(14)
    decisions = {n: found.report(n, 64, float(n)) for n in numbers[1:]}
    assert GOES_ON in list(decisions.values())[3:]
    assert STOPS in decisions.values()


@pytest.mark.parametrize("rule", ["median", "pbt", "none"])
def test_other_rules_are_wired(rule: str) -> None:
    found = driver(scheduler=rule)
    found.begin(7)
    if rule == "none":
        assert [rung.images for rung in found.config.rungs] == [128]
        return
    for n in range(1, 6):
        found.report(n, 64, float(n))
    assert found.report(6, 64, 60.0) == STOPS


def test_several_objectives_stop_what_is_dominated() -> None:
    experiment = small_experiment(evaluation__objectives=("fid/all", "fid/few"))
    config = dataclasses.replace(small_study(num_trials=9), experiment=experiment)
    found = Driver(config, optuna.create_study(directions=["minimize"] * 2))
    found.begin(4)
    assert found.report(1, 64, 1.0, values=[1.0, 2.0]) == GOES_ON
    assert found.report(2, 64, 2.0, values=[2.0, 3.0]) == STOPS
    assert found.report(3, 64, 2.0, values=[0.5, 2.5]) == GOES_ON
    found.report(1, 128, 1.0, values=[1.0, 2.0])
    trials = found.study.trials
    assert trials[1].values == [1.0, 2.0]
    assert trials[2].state == TrialState.PRUNED


def test_trial_that_breaks_a_constraint_ranks_below_those_that_keep_it() -> None:
    experiment = small_experiment(evaluation__constraints=("fid/many <= baseline + 5%",))
    config = dataclasses.replace(small_study(num_trials=9), experiment=experiment)
    found = Driver(config, optuna.create_study())
    found.begin(4)
    found.report(0, 64, 10.0, **{"fid/many": 10.0})
    assert found.report(1, 64, 9.0, **{"fid/many": 10.4}) == GOES_ON
    assert found.report(2, 64, 1.0, **{"fid/many": 11.0}) == STOPS
    found.report(0, 128, 5.0, **{"fid/many": 5.0})
    found.report(1, 128, 4.0, **{"fid/many": 6.0})
    assert found.study.trials[1].constraints == {
        "fid/many <= baseline + 5%": pytest.approx(6 / 5.25 - 1)
    }
