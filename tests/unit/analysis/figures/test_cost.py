import dataclasses

import numpy as np
import pytest
from matplotlib.container import BarContainer

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures.cost import cost_figure, cost_hours
from tests.made.drawn import sentence_of, text_of
from tests.made.full_card import SECONDS
from tests.made.full_study import TRAINING_S, TRIALS


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


def test_study_without_cost_records_is_said_so(study: StudyResults) -> None:
    bare = dataclasses.replace(study, costs=study.costs.iloc[:0])
    assert sentence_of(cost_figure(bare)) == "No trial left a record of what it cost."


def test_gpu_hours_are_taken_where_there_are_gpus(full_study: StudyResults) -> None:
    costs = full_study.costs.assign(gpus=4.0, workers=1.0)
    hours, unit = cost_hours(costs)
    assert unit == "GPU"
    assert hours.sum().sum() == pytest.approx(4 * full_study.costs["seconds"].sum() / 3600)
