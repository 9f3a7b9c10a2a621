import dataclasses

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from diffrop.record.trial_state import AUDITED_AT, RUNGS, RungScore
from diffrop.search.rung_scores import RungScores, judged_violations
from diffrop.study.config import StudyConfig
from tests.made.small import constrained, small_study


def scores_of(config: StudyConfig, **values: float) -> RungScores:
    """Scores at the first rung by trial, as in t1=10.0."""
    found = RungScores(config)
    for name, value in values.items():
        found.add(int(name[1:]), 64, RungScore((value,), 20))
    return found


def test_trial_goes_on_that_is_among_the_best() -> None:
    found = scores_of(small_study(num_trials=9), t1=10.0, t2=20.0, t3=5.0)
    assert found.best_first(64) == [3, 1, 2]
    assert found.goes_on(3, 64) and not found.goes_on(2, 64)
    assert found.goes_on(7, 64)  # it has no score


def test_trials_of_a_study_are_taken_up_until_they_have_ended() -> None:
    def trial(value: float, state: TrialState) -> FrozenTrial:
        rungs = {"64": RungScore((value,), 20).to_dict()}
        made = optuna.trial.create_trial(state=state, user_attrs={RUNGS: rungs})
        made.number = 1
        return made

    found = RungScores(small_study())
    found.sync([trial(3.0, TrialState.RUNNING)])
    found.sync([trial(2.0, TrialState.PRUNED)])
    found.sync([trial(1.0, TrialState.PRUNED)])
    assert found.ranked_scores(64)[1].values == (2.0,)


def test_scores_past_an_audit_stop_nobody() -> None:
    found = scores_of(small_study(), t1=1.0, t2=2.0)
    found.add(2, 128, RungScore((0.5,), 40))
    found.audit(2, 64)
    assert found.is_audited(2) and not found.is_audited(1)
    assert set(found.ranked_scores(64)) == {1, 2} and found.ranked_scores(128) == {}
    audited = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={AUDITED_AT: 64})
    audited.number = 1
    found.sync([audited])
    assert found.is_audited(1)


def test_constraints_are_judged_as_far_as_they_can_be() -> None:
    study = constrained(small_study(), "fid/many <= baseline + 5%", "fid/few <= 40")
    constraints = study.experiment.evaluation.parsed_constraints
    score = RungScore((1.0,), 20, {"fid/many": 11.0, "fid/few": 50.0})
    base = RungScore((1.0,), 20, {"fid/many": 10.0, "fid/few": 1.0})
    relative, plain = (constraint.text for constraint in constraints)
    assert judged_violations(score, None, constraints, full=False) == {}
    early = judged_violations(score, base, constraints, full=False)
    assert early == {relative: pytest.approx(11 / 10.5 - 1)}
    assert judged_violations(score, None, constraints, full=True) == {plain: 0.25}


def test_trial_that_breaks_a_constraint_ranks_below_one_that_keeps_it() -> None:
    found = RungScores(constrained(small_study(), "fid/many <= baseline + 5%"))
    for number, value, many in ((0, 10.0, 10.0), (1, 9.0, 10.4), (2, 1.0, 11.0)):
        found.add(number, 64, RungScore((value,), 20, {"fid/many": many}))
    assert found.best_first(64) == [1, 0, 2]
    assert found.baseline(64) == RungScore((10.0,), 20, {"fid/many": 10.0})


def test_hyperband_compares_trials_of_one_bracket() -> None:
    config = dataclasses.replace(small_study(num_trials=16), scheduler="hyperband")
    found = scores_of(config, **{f"t{number}": float(number) for number in range(1, 14)})
    stopped = [number for number in range(1, 14) if not found.goes_on(number, 64)]
    assert stopped and len(stopped) < 8
