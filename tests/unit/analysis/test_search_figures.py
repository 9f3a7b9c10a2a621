import dataclasses
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from matplotlib.container import BarContainer
from scipy.stats import kendalltau

from analysis.compare import comparable_trials
from analysis.confirmation import confirmation_figure
from analysis.cost import cost_figure, cost_hours
from analysis.learning_curves import learning_curves_figure, rung_scores
from analysis.load import StudyResults, load_study
from analysis.parallel_coordinates import parallel_coordinates_figure, row_scales
from analysis.parameter_importance import parameter_importance_figure, parameter_importances
from analysis.pareto_front import front_trials, pareto_front_figure
from analysis.rung_ranks import rung_ranks, rung_ranks_figure
from analysis.search_study import optuna_study
from analysis.style import form_style

from .drawn import axes_of, lines_of, points, sentence_of, text_of
from .fake_study import NINE_TRIALS, write_study
from .full_study import AUDITED, CONSTRAINT, KEY, RUNGS, SECONDS, TRAINING_S, TRIALS


def test_front_and_feasible_set_are_the_studys_own(full_study: StudyResults) -> None:
    figure = pareto_front_figure(full_study)
    axes = axes_of(figure, "fid/all against fid/few")
    trials = full_study.trials.set_index("number")
    assert full_study.front is not None
    on_front = full_study.front.loc[full_study.front["front"], "number"].tolist()
    (front,) = lines_of(axes, "front")
    expected = trials.loc[on_front, ["fid/all", "fid/few"]].sort_values("fid/all")
    assert front.get_xydata().tolist() == expected.values.tolist() and len(on_front) > 1
    hollow = {p for form in ("negative L2", "hinge")
              for line in lines_of(axes, f"{form}, infeasible") for p in points(line)}  # fmt: skip
    infeasible = trials[trials["feasible"].eq(False).fillna(False).astype(bool)]
    assert hollow == set(zip(infeasible["fid/all"], infeasible["fid/few"], strict=True))
    assert f"feasible: {CONSTRAINT}" in text_of(figure) and "front: t001" in text_of(figure)


def test_front_may_lie_at_an_omega_that_no_trial_is_ranked_at(full_study: StudyResults) -> None:
    assert full_study.front is not None
    other = {"number": 2, "omega": 2.0, "sampler": "ddim-16", "fid/all": 60.0, "fid/few": 50.0,
             "feasible": True, "front": True}  # fmt: skip
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


def test_rung_ranks_are_those_of_the_trials_scored_in_full(full_study: StudyResults) -> None:
    ranks = rung_ranks(full_study)
    complete = full_study.trials[full_study.trials["state"] == "COMPLETE"].set_index("number")
    for images, group in ranks.groupby("images"):
        assert set(group["number"]) == set(complete.index)
        assert group["num_samples"].unique().tolist() == [RUNGS[int(str(images))][0]]
        final = complete.loc[group["number"], "value"].rank().tolist()
        assert group["final_rank"].tolist() == final
        rows = full_study.measurements
        rows = rows[(rows["images_seen"] == images) & (rows["score"] == "fid/all")]
        rows = rows[rows["round_samples"] == RUNGS[int(str(images))][0]]
        at_rung = rows.groupby("number")["value"].min().loc[group["number"]]
        assert group["rung_rank"].tolist() == at_rung.rank().tolist()
    assert set(ranks.loc[ranks["audited"], "number"]) == set(AUDITED)


def test_rung_figure_has_the_stored_tau_its_interval_and_the_verdict(
    full_study: StudyResults,
) -> None:
    figure = rung_ranks_figure(full_study)
    assert [axes.get_label() for axes in figure.axes] == ["6016", "12032"]
    title = figure.axes[0].get_title(loc="left")
    assert title == "6,016 images, N = 250\ntau 0.62 [0.21, 0.87]\n13 trials, 2 audited"
    assert "The rungs rank as the end does" in text_of(figure)
    (ring,) = lines_of(figure.axes[0], "audited")
    assert len(ring.get_xdata()) == len(AUDITED)


def test_rung_figure_without_a_verdict_has_tau_and_no_interval(full_study: StudyResults) -> None:
    study = dataclasses.replace(full_study, fidelity={})
    ranks = rung_ranks(study)
    group = ranks[ranks["images"] == 6_016]
    tau = kendalltau(group["rung_rank"], group["final_rank"]).statistic
    title = rung_ranks_figure(study).axes[0].get_title(loc="left")
    assert f"tau {tau:.2f}, no interval (13 trials)" in title


def test_importances_are_optunas(full_study: StudyResults) -> None:
    found, num_trials = parameter_importances(full_study)
    assert num_trials == 12 and set(found.index) == {"form", "tau_0", "decay_temperature", KEY}
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=32, seed=0)
    rebuilt = optuna_study(full_study)
    shares = optuna.importance.get_param_importances(
        rebuilt, evaluator=evaluator, params=list(found.index)
    )
    assert found["low"]["form"] <= shares["form"] <= found["high"]["form"]
    figure = parameter_importance_figure(full_study)
    bars = next(c for c in figure.axes[0].containers if isinstance(c, BarContainer))
    assert [bar.get_width() for bar in bars] == found["mean"].tolist()
    text = text_of(figure)
    assert "fANOVA of 12 trials" in text and "without margin, which not every trial has" in text


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


def test_parallel_coordinates_place_every_value(full_study: StudyResults) -> None:
    figure = parallel_coordinates_figure(full_study)
    (axes,) = figure.axes
    scales = row_scales(full_study, comparable_trials(full_study))
    assert [scale.name for scale in scales] == [
        "form", "tau_0", "decay_temperature", "margin", KEY, "value",
    ]  # fmt: skip
    (line,) = lines_of(axes, "t001")
    trial = full_study.trials.loc[1]
    rows = [0, 1, 2, 4, 5]  # the margin was not asked for
    assert list(line.get_ydata()) == rows
    expected = [scales[row].place(trial[scales[row].name]) for row in rows]
    np.testing.assert_allclose(np.asarray(line.get_xdata(), float), np.asarray(expected, float))
    assert expected[1] == pytest.approx(np.log(3.2 / 0.1) / np.log(1000))
    assert line.get_color() == form_style("reciprocal").colour
    (pruned,) = lines_of(axes, "t006")
    assert max(pruned.get_ydata()) == 4 and pruned.get_color() == "#808080"
    assert "12 of 17 trials scored in full" in text_of(figure)


def test_learning_curves_do_not_join_unequal_n(full_study: StudyResults) -> None:
    figure = learning_curves_figure(full_study)
    axes = axes_of(figure, "fid/all")
    assert all(len(line.get_xdata()) == 1 for line in lines_of(axes, "t001"))
    expected = rung_scores(full_study)
    drawn = {y for line in lines_of(axes, "t001") for _, y in points(line)}
    assert drawn == set(expected.loc[expected["number"] == 1, "value"]) and len(drawn) == 3
    counts = {text.get_text() for text in axes.texts}
    assert counts == {"N = 250", "N = 500", "N = 1,000"}
    losses = axes_of(figure, "loss/ddpm")
    assert {line.get_label() for line in losses.lines} >= {f"t{t[0]:03d}" for t in TRIALS}
    pruned = [line.get_xdata()[0] for line in lines_of(losses, "PRUNED")]
    assert len(pruned) == 3 and max(pruned) <= 12_032


def test_learning_curves_join_rungs_of_equal_n(study: StudyResults) -> None:
    axes = axes_of(learning_curves_figure(study), "fid/all")
    lengths = sorted(len(line.get_xdata()) for line in lines_of(axes, "t001"))
    assert lengths == [1, 2]  # two rungs at N = 300, the end at 1,000


def test_hours_are_those_of_the_store(full_study: StudyResults) -> None:
    hours, unit = cost_hours(full_study.costs)
    assert unit == "worker"
    hour = 2 / 3600  # of two workers
    full = [trial for trial in TRIALS if trial[1] == "COMPLETE"]
    stretches = sum(trial[7] for trial in full)
    assert hours.loc["full", "training"] == pytest.approx(stretches * TRAINING_S * hour)
    assert hours.loc["full", "sampling"] == pytest.approx(stretches * SECONDS["sampling"] * hour)
    assert hours.loc["shared training", "training"] == pytest.approx(TRAINING_S * hour)
    assert hours.loc["confirmation", "training"] == pytest.approx(6 * TRAINING_S * hour)
    assert hours.loc["pruned", "metrics"] == pytest.approx(4 * SECONDS["metrics"] * hour)


def test_cost_figure_stacks_the_hours(full_study: StudyResults) -> None:
    figure = cost_figure(full_study)
    (axes,) = figure.axes
    hours, _ = cost_hours(full_study.costs)
    order = ["shared training", "full", "running", "pruned", "failed", "confirmation"]
    bars = {c.get_label(): c for c in axes.containers if isinstance(c, BarContainer)}
    assert list(bars) == ["training", "sampling", "features", "metrics"]
    for part, container in bars.items():
        np.testing.assert_allclose(
            [bar.get_width() for bar in container], hours.loc[order, str(part)]
        )
    assert f"{hours.sum().sum():.3g} worker-hours in all (0.75 planned)" in text_of(figure)


def test_study_without_cost_records_tells_the_trials_durations(study: StudyResults) -> None:
    hours, _ = cost_hours(study.costs)
    assert hours.columns.tolist() == ["not split"]
    assert hours.sum().sum() == pytest.approx(study.trials["duration_s"].sum() / 3600)
    assert "worker-minutes in all" in text_of(cost_figure(study))


def test_gpu_hours_are_taken_where_there_are_gpus(full_study: StudyResults) -> None:
    costs = full_study.costs.assign(gpus=4.0, workers=1.0)
    hours, unit = cost_hours(costs)
    assert unit == "GPU"
    assert hours.sum().sum() == pytest.approx(4 * full_study.costs["seconds"].sum() / 3600)


def test_confirmation_draws_every_seed_and_the_mean(full_study: StudyResults) -> None:
    figure = confirmation_figure(full_study)
    (axes,) = figure.axes
    for leader in full_study.confirmation["leaders"]:
        (seeds,) = lines_of(axes, leader["name"])
        assert list(seeds.get_xdata()) == leader["differences"]
        (mean,) = lines_of(axes, f"{leader['name']} mean")
        assert list(mean.get_xdata()) == [leader["mean"]]
    text = text_of(figure)
    assert "3 seeds, intervals 95 % over seeds" in text and "better than the baseline" in text
    assert "all share the trunk" in text


def test_too_little_for_a_search_figure_is_a_sentence(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "study", trials=NINE_TRIALS[:2]))
    assert "that takes 4 trials scored in full" in sentence_of(parameter_importance_figure(study))
    assert sentence_of(rung_ranks_figure(study)).startswith("No rung has 3 trials")
    assert sentence_of(confirmation_figure(study)).startswith("No leader was trained again")
