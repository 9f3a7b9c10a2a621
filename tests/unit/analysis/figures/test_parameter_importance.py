import optuna
import pytest

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.search_study import optuna_study
from diffrop.analysis.figures import parameter_importance
from diffrop.analysis.figures.parameter_importance import (
    applies,
    parameter_importance_figure,
    parameter_importances,
)
from tests.made.drawn import text_of
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
