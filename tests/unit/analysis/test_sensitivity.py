import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh
from scipy import stats

from analysis.compare import comparable_trials
from analysis.decay_heatmap import best_in_cells, decay_heatmap_figure
from analysis.guidance_curve import guidance_curve_figure, spaced_ticks
from analysis.load import StudyResults, load_study
from analysis.margin_sensitivity import active_shares, margin_sensitivity_figure
from analysis.omega_sensitivity import omega_losses, omega_sensitivity_figure
from analysis.rounds import omega_rows
from analysis.style import form_style

from .drawn import axes_of, lines_of, points, sentence_of, text_of
from .fake_study import NINE_TRIALS, write_study
from .full_study import OMEGAS


def test_curves_over_omega_are_of_one_round(full_study: StudyResults) -> None:
    numbers = comparable_trials(full_study)["number"].tolist()
    rows = omega_rows(full_study, numbers, "fid/few")
    assert rows["round_samples"].unique().tolist() == [250]
    assert rows["num_samples"].unique().tolist() == [75]
    assert (rows.groupby("number")["omega"].nunique() == len(OMEGAS)).all()
    assert rows["final"].all() and rows["sampler"].unique().tolist() == ["ddim-16"]


def test_guidance_curve_says_which_round_it_draws(full_study: StudyResults) -> None:
    figure = guidance_curve_figure(full_study)
    assert figure.axes[0].get_title(loc="left") == "FID of all classes\nN = 250"
    text = text_of(figure)
    assert "curves from the round with N = 250 of the search for omega" in text
    # The interval belongs to the value at the full N, through which these curves do not pass.
    assert not lines_of(figure.axes[0], "interval")


def test_guidance_curve_has_the_interval_where_the_round_is_the_score(study: StudyResults) -> None:
    axes = axes_of(guidance_curve_figure(study), "fid/all")
    best = study.trials.loc[1]
    ends = {tuple(line.get_ydata()) for line in lines_of(axes, "interval")}
    assert (best["value_low"], best["value_high"]) in ends and len(ends) == 5
    assert not lines_of(axes_of(guidance_curve_figure(study), "fid/few"), "interval")


def test_omegas_that_are_too_near_are_not_named() -> None:
    assert spaced_ticks([0.0, 0.5, 0.75, 1.0, 2.0]) == [0.0, 0.5, 1.0, 2.0]
    assert spaced_ticks([1.0]) == [1.0]


def test_omega_losses_are_means_with_students_interval(full_study: StudyResults) -> None:
    rows = omega_rows(full_study, comparable_trials(full_study)["number"].tolist(), "fid/all")
    found = omega_losses(rows).set_index(["form", "omega"])
    own = rows[(rows["form"] == "reciprocal")].pivot(
        index="number", columns="omega", values="value"
    )
    losses = own.sub(own.min(axis=1), axis=0)[2.0]
    interval = stats.t.interval(0.95, len(losses) - 1, losses.mean(), stats.sem(losses))
    row = found.loc[("reciprocal", 2.0)]
    assert row["num_trials"] == len(losses) == 4
    np.testing.assert_allclose([row["mean"], row["low"], row["high"]], [losses.mean(), *interval])
    assert np.isnan(found.loc[("negative_l2", 2.0), "low"])  # two trials


def test_omega_sensitivity_draws_the_means(full_study: StudyResults) -> None:
    figure = omega_sensitivity_figure(full_study)
    rows = omega_rows(full_study, comparable_trials(full_study)["number"].tolist(), "fid/all")
    expected = omega_losses(rows)
    axes = axes_of(figure, "fid/all")
    for form, group in expected.groupby("form"):
        (line,) = lines_of(axes, form_style(str(form)).label)
        assert points(line) == set(zip(group["omega"], group["mean"], strict=True))
    bands = {band.get_label() for band in axes.collections}
    assert "reciprocal interval" in bands and "negative L2 interval" not in bands
    (legend,) = figure.legends
    assert "reciprocal (4 trials)" in [text.get_text() for text in legend.get_texts()]


def test_cells_hold_the_best_of_their_trials() -> None:
    trials = pd.DataFrame(
        {"tau_0": [1.0, 1.1, 9.9, 10.0], "decay_temperature": [0.1, 0.1, 0.9, 1.0],
         "value": [5.0, 4.0, 7.0, 8.0]}
    )  # fmt: skip
    edges = [np.array([1.0, 3.0, 10.0]), np.array([0.1, 0.3, 1.0])]
    cells = best_in_cells(trials, edges)
    np.testing.assert_array_equal(cells, [[4.0, np.nan], [np.nan, 7.0]])


def test_heat_map_has_a_panel_a_form_on_one_scale(full_study: StudyResults) -> None:
    figure = decay_heatmap_figure(full_study)
    forms = [axes.get_label() for axes in figure.axes[:-1]]
    assert forms == ["negative_l2", "hinge", "reciprocal", "exponential"]
    trials = comparable_trials(full_study)
    meshes = [
        next(c for c in axes.collections if isinstance(c, QuadMesh)) for axes in figure.axes[:-1]
    ]
    contrastive = trials[~trials["baseline"]]
    assert {mesh.norm.vmin for mesh in meshes} == {contrastive["value"].min()}
    assert {mesh.norm.vmax for mesh in meshes} == {contrastive["value"].max()}
    for axes, mesh in zip(figure.axes, meshes, strict=False):
        own = contrastive[contrastive["form"] == axes.get_label()]
        (dots,) = lines_of(axes, "trials")
        assert points(dots) == set(zip(own["tau_0"], own["decay_temperature"], strict=True))
        filled = np.ma.compressed(np.ma.masked_invalid(mesh.get_array()))
        assert set(filled) <= set(own["value"]) and own["value"].min() in filled


def test_margin_figure_shows_values_and_active_shares(full_study: StudyResults) -> None:
    figure = margin_sensitivity_figure(full_study)
    hinge = full_study.trials[full_study.trials["form"] == "hinge"]
    complete = hinge[hinge["state"] == "COMPLETE"]
    (line,) = lines_of(axes_of(figure, "value"), "hinge")
    assert points(line) == set(zip(complete["margin"], complete["value"], strict=True))
    shares = active_shares(full_study).set_index("number")
    assert set(shares.index) == set(hinge["number"])
    path = full_study.folder(3) / "training" / "metrics.jsonl"
    logged = [json.loads(row)["pcl/active_share"] for row in path.read_text().splitlines()]
    assert shares.loc[3, "share"] == pytest.approx(np.median(logged))
    hollow = lines_of(axes_of(figure, "active share"), "active share, not complete")
    assert {x for line in hollow for x in line.get_xdata()} == {1.045}
    assert "trials with the hinge scored in full: 3" in text_of(figure)


def test_studies_without_a_hinge_or_a_tau_are_told_in_a_sentence(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "study", trials=NINE_TRIALS[:3]))
    assert sentence_of(margin_sensitivity_figure(study)).startswith("No trial with the hinge")
    bare = dataclasses.replace(study, trials=study.trials.assign(decay_temperature=np.nan))
    assert sentence_of(decay_heatmap_figure(bare)).startswith("No complete trial has a tau_0")
