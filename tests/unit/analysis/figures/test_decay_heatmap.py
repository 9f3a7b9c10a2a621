import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh

from diffrop.analysis.data.compare import comparable_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures.decay_heatmap import best_in_cells, decay_heatmap_figure
from tests.made.drawn import lines_of, points


def test_cells_hold_the_best_of_their_trials() -> None:
    trials = pd.DataFrame(
        {
            "tau_0": [1.0, 1.1, 9.9, 10.0],
            "decay_temperature": [0.1, 0.1, 0.9, 1.0],
            "value": [5.0, 4.0, 7.0, 8.0],
        }
    )
    edges = [np.array([1.0, 3.0, 10.0]), np.array([0.1, 0.3, 1.0])]
    cells = best_in_cells(trials, edges)
    np.testing.assert_array_equal(cells, [[4.0, np.nan], [np.nan, 7.0]])


def test_few_trials_are_drawn_one_by_one(full_study: StudyResults) -> None:
    figure = decay_heatmap_figure(full_study)
    assert figure.axes[0].get_label() == "trials" and len(figure.axes) == 2
    trials = comparable_trials(full_study)
    for drawn in figure.axes[0].collections:
        own = trials[trials["form"] == drawn.get_label()]
        expected = own[["tau_0", "decay_temperature"]].to_numpy()
        np.testing.assert_allclose(np.asarray(drawn.get_offsets()), expected)
        np.testing.assert_allclose(np.asarray(drawn.get_array()), own["value"])
    (ring,) = lines_of(figure.axes[0], "best")
    best = trials[~trials["baseline"]].iloc[0]
    assert points(ring) == {(best["tau_0"], best["decay_temperature"])}


def test_broken_trial_does_not_stretch_the_colours(full_study: StudyResults) -> None:
    trials = comparable_trials(full_study)
    worst = trials[~trials["baseline"]].iloc[-1]
    values = full_study.trials["value"].mask(
        full_study.trials["number"] == worst["number"], 3 * trials["value"].max()
    )
    changed = full_study.trials.assign(value=values)
    study = dataclasses.replace(full_study, trials=changed)
    left = trials[~trials["baseline"] & (trials["number"] != worst["number"])]
    for drawn in decay_heatmap_figure(study).axes[0].collections:
        assert drawn.norm.vmax == left["value"].max()


def test_heat_map_has_a_panel_a_form_on_one_scale(
    full_study: StudyResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffrop.analysis.figures.decay_heatmap.MIN_MAPPED", 1)
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


@pytest.mark.parametrize(("count", "is_mapped"), [(19, False), (20, True)])
def test_form_is_mapped_from_twenty_trials_of_its_own(
    full_study: StudyResults, count: int, is_mapped: bool
) -> None:
    trials = full_study.trials.set_index("number")
    rows = [trials.loc[[0, 1, 2, 5]].reset_index()]
    for number in range(100, 100 + count - 2):  # reciprocal, with the two that there are
        own = trials.loc[[1]].assign(tau_0=0.1 + number, value=41.0 + 0.1 * number)
        rows.append(own.assign(number=number))
    study = dataclasses.replace(full_study, trials=pd.concat(rows, ignore_index=True))
    figure = decay_heatmap_figure(study)
    labels = [axes.get_label() for axes in figure.axes[:-1]]
    assert labels == (["reciprocal", "exponential"] if is_mapped else ["trials"])
    meshes = [
        [c for c in axes.collections if isinstance(c, QuadMesh)] for axes in figure.axes[:-1]
    ]
    assert [len(found) for found in meshes] == ([1, 0] if is_mapped else [0])
