import dataclasses

import pandas as pd

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures.pareto_front import front_trials, pareto_front_figure
from tests.made.drawn import axes_of, lines_of, points, text_of
from tests.made.full_study import CONSTRAINT


def test_front_and_feasible_set_are_the_studys_own(full_study: StudyResults) -> None:
    figure = pareto_front_figure(full_study)
    axes = axes_of(figure, "fid/all against fid/few")
    trials = full_study.trials.set_index("number")
    assert full_study.front is not None
    on_front = full_study.front.loc[full_study.front["front"], "number"].tolist()
    (front,) = lines_of(axes, "front")
    expected = trials.loc[on_front, ["fid/all", "fid/few"]].sort_values("fid/all")
    assert front.get_xydata().tolist() == expected.values.tolist() and len(on_front) > 1
    hollow = {
        p
        for form in ("negative_l2", "hinge")
        for line in lines_of(axes, f"{form}, infeasible")
        for p in points(line)
    }
    infeasible = trials[trials["feasible"].eq(False).fillna(False).astype(bool)]
    assert hollow == set(zip(infeasible["fid/all"], infeasible["fid/few"], strict=True))
    assert f"feasible: {CONSTRAINT}" in text_of(figure) and "front: t001" in text_of(figure)


def test_front_may_lie_at_an_omega_that_no_trial_is_ranked_at(full_study: StudyResults) -> None:
    assert full_study.front is not None
    other = {
        "number": 2,
        "omega": 2.0,
        "sampler": "ddim-16",
        "fid/all": 60.0,
        "fid/few": 50.0,
        "feasible": True,
        "front": True,
    }
    foreign = other | {"sampler": "ancestral-1000", "fid/few": 1.0}
    front = pd.concat([full_study.front, pd.DataFrame([other, foreign])], ignore_index=True)
    axes = pareto_front_figure(dataclasses.replace(full_study, front=front)).axes[0]
    (line,) = lines_of(axes, "front")
    assert (60.0, 50.0) in points(line)
    (exponential,) = lines_of(axes, "exponential")
    assert (60.0, 50.0) in points(exponential)
    assert (60.0, 1.0) not in points(exponential) | points(line)  # of another sampler


def test_front_of_a_single_objective_is_that_of_many_against_few(study: StudyResults) -> None:
    scores = ["fid/many", "fid/few"]
    found = front_trials(study, scores)
    values = found[scores].to_numpy()
    brute = [
        not any((other <= own).all() and (other < own).any() for other in values) for own in values
    ]
    assert found["front"].tolist() == brute and found["feasible"].all()
    labels = [axes.get_label() for axes in pareto_front_figure(study).axes]
    assert labels == ["fid/many against fid/few"]
