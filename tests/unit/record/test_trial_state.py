import math

import optuna
import pytest

from diffrop.record.trial_state import (
    RUNGS,
    Failed,
    RungReached,
    RungScore,
    Stopped,
    TrialReport,
    read_report,
    rung_scores,
    rungs_reached,
    to_result,
)

REACHED = RungReached(
    images_seen=64,
    final=True,
    values=(50.0, 60.0),
    scores={"fid/all": 50.0, "fid/few": 60.0},
    omega=1.0,
    training_key="0" * 32,
)


@pytest.mark.parametrize(
    "report",
    [REACHED, RungReached(images_seen=64, final=True), Failed(message="no memory"), Stopped()],
)
def test_report_comes_back_from_what_tune_passes_on(report: TrialReport) -> None:
    assert read_report(to_result(report)) == report
    # Tune adds keys of its own.
    assert read_report(to_result(report) | {"training_iteration": 3, "done": False}) == report


def test_result_names_the_objective_and_every_score() -> None:
    result = to_result(REACHED)
    assert (result["score"], result["values"]) == (50.0, [50.0, 60.0])
    assert (result["fid/all"], result["fid/few"]) == (50.0, 60.0)


@pytest.mark.parametrize("result", [None, {}, {"training_iteration": 1}])
def test_trial_that_reported_nothing_has_no_report(result: dict[str, int] | None) -> None:
    assert read_report(result) is None


@pytest.mark.parametrize("values", [None, (math.nan,), (1.0, math.inf)])
def test_values_that_are_not_all_finite_are_none(values: tuple[float, ...] | None) -> None:
    assert RungReached(images_seen=64, final=True, values=values).finite_values is None
    assert REACHED.finite_values == (50.0, 60.0)


@pytest.mark.parametrize("scores", [{}, {"fid/many": 9.0}])
def test_scores_of_a_trial_are_read_from_optunas_study(scores: dict[str, float]) -> None:
    score = RungScore((50.0,), 20, scores)
    trial = optuna.trial.create_trial(value=1.0, user_attrs={RUNGS: {"64": score.to_dict()}})
    assert rung_scores(trial) == {64: score} and rungs_reached(trial) == {64}
    assert rung_scores(optuna.trial.create_trial(value=1.0)) == {}
