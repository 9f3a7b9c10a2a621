import dataclasses
import json

import numpy as np
import pytest

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures.margin_sensitivity import (
    active_shares,
    applies,
    margin_sensitivity_figure,
)
from tests.made.drawn import axes_of, lines_of, points, text_of


def test_margin_figure_shows_values_and_active_shares(full_study: StudyResults) -> None:
    figure = margin_sensitivity_figure(full_study)
    hinge = full_study.trials[full_study.trials["form"] == "hinge"]
    complete = hinge[hinge["state"] == "COMPLETE"]
    (line,) = lines_of(axes_of(figure, "value"), "hinge")
    changes = complete["value"] - full_study.trials.loc[0, "value"]
    assert points(line) == set(zip(complete["margin"], changes, strict=True))
    shares = active_shares(full_study).set_index("number")
    assert set(shares.index) == set(hinge["number"])
    path = full_study.folder(3).training().curves_path
    logged = [json.loads(row)["pcl/active_share"] for row in path.read_text().splitlines()]
    assert shares.loc[3, "share"] == pytest.approx(np.median(logged))
    hollow = lines_of(axes_of(figure, "active share"), "active share, not complete")
    assert {x for line in hollow for x in line.get_xdata()} == {1.045}
    assert "trials with the hinge scored in full: 3" in text_of(figure)


def test_margins_without_a_score_or_a_share_make_no_panel(full_study: StudyResults) -> None:
    hinge = full_study.trials["form"] == "hinge"
    assert applies(full_study) and hinge.sum() == 4
    state = full_study.trials["state"].mask(hinge & (full_study.trials["number"] != 3), "FAIL")
    unscored = dataclasses.replace(full_study, trials=full_study.trials.assign(state=state))
    figure = margin_sensitivity_figure(unscored)
    assert [axes.get_label() for axes in figure.axes] == ["active share"]
    silent = dataclasses.replace(unscored, curves=unscored.curves.iloc[:0])
    assert not applies(silent)
