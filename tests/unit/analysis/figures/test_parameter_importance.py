import optuna
from matplotlib.container import BarContainer

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.search_study import optuna_study
from diffrop.analysis.figures.parameter_importance import (
    parameter_importance_figure,
    parameter_importances,
)
from tests.made.drawn import text_of
from tests.made.full_study import KEY


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
