import dataclasses

import numpy as np
import optuna
import pandas as pd
import pytest

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.search_study import optuna_study
from diffrop.analysis.figures import parameter_importance
from diffrop.analysis.figures.parameter_importance import (
    applies,
    parameter_importance_figure,
    parameter_importances,
)
from tests.made.drawn import sentence_of, text_of
from tests.made.full_study import KEY


def test_importances_are_optunas_also_of_a_conditional_parameter(
    full_study: StudyResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not applies(full_study) and parameter_importances(full_study)[0].empty
    monkeypatch.setattr(parameter_importance, "MIN_TRIALS", 12)
    found, num_trials = parameter_importances(full_study)
    assert num_trials == 12
    assert set(found.index) == {"form", "tau_0", "decay_temperature", "margin", KEY}
    shares = optuna.importance.get_param_importances(optuna_study(full_study))
    assert found.to_dict() == pytest.approx(shares) and found.sum() == pytest.approx(1)
    figure = parameter_importance_figure(full_study)
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == found.tolist()
    assert "PED-ANOVA of 12 trials" in text_of(figure)


@pytest.mark.parametrize(("count", "has_importances"), [(49, False), (50, True)])
def test_importances_take_fifty_trials_and_the_margin_counts(
    full_study: StudyResults, count: int, has_importances: bool
) -> None:
    """Half of them have the hinge, whose score is its margin's distance from 1.02."""
    rng = np.random.default_rng(1)
    trials = full_study.trials.set_index("number")
    rows = [trials.loc[[0]].reset_index()]
    for number in range(1, count + 1):
        own = trials.loc[[3 if number % 2 else 1]].assign(
            number=number, tau_0=10 ** rng.uniform(-1, 2), decay_temperature=rng.uniform(0.1, 1)
        )
        margin = rng.uniform(0.995, 1.05) if number % 2 else np.nan
        value = 40 + 100 * abs(margin - 1.02) if number % 2 else 45 + rng.uniform(0, 1)
        rows.append(own.assign(margin=margin, value=value))
    study = dataclasses.replace(full_study, trials=pd.concat(rows, ignore_index=True))
    assert applies(study) == has_importances
    found, num_trials = parameter_importances(study)
    assert num_trials == count and found.empty != has_importances
    if has_importances:
        assert found["margin"] > 0.1 > found["decay_temperature"]
    else:
        text = sentence_of(parameter_importance_figure(study))
        assert text.startswith("No importances: that takes 50 trials") and "there are 49" in text
