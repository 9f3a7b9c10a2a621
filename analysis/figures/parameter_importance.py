"""Figure: which searched parameters had to be right for a trial to be among the best tenth."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrop.analysis.data.compare import contrastive_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.search_study import optuna_study, searched_columns
from diffrop.analysis.data.words import parameter_label
from diffrop.analysis.figures import style

READING = (
    "How much each parameter had to do with a trial being among the best tenth. "
    "Optuna's PED-ANOVA (Watanabe et al., 2023; for conditional parameters Kaito et al., 2026): "
    "the divergence between where the best tenth of the trials lie and where all lie, as shares "
    "of the sum. A parameter that only some trials have, such as the margin, counts too. A "
    "search samples good regions more densely, and stopped trials are missing, so that the order "
    "is a hint and no proof."
)
MIN_TRIALS = 50
"""The best tenth of fewer trials are fewer than the five that Optuna advises."""


def applies(study: StudyResults) -> bool:
    """Return whether there are enough trials scored in full."""
    return len(contrastive_trials(study)) >= MIN_TRIALS


def parameter_importance_figure(study: StudyResults) -> Figure:
    """Draw a bar for each searched parameter that varies.

    Returns:
        one axes whose bars are in falling order.
    """
    found, num_trials = parameter_importances(study)
    if found.empty:
        return style.sentence_figure(
            study,
            f"No importances: that takes {MIN_TRIALS} trials scored in full, of unequal scores "
            f"and with a parameter that varies, and there are {num_trials}.",
        )
    figure = style.new_figure(1.1 + 0.34 * len(found))
    axes = figure.add_subplot(label="importance")
    _draw_bars(axes, found)
    style.tidy_categories(axes)
    style.add_caption(figure, style.caption(study), f"PED-ANOVA of {num_trials} trials")
    return figure


def parameter_importances(study: StudyResults) -> tuple[pd.Series, int]:
    """Return the share of each parameter, in falling order, and the number of trials behind them.

    The shares sum to 1; there are none where there is too little to tell.
    """
    import optuna

    rebuilt = optuna_study(study)
    trials = rebuilt.get_trials(deepcopy=False)
    varied = [
        name
        for name in searched_columns(study)
        if len({trial.params[name] for trial in trials if name in trial.params}) > 1
    ]
    values = {trial.value for trial in trials}
    if len(trials) < MIN_TRIALS or not varied or len(values) < 2:
        return pd.Series(dtype=float), len(trials)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    shares = optuna.importance.get_param_importances(rebuilt, evaluator=evaluator, params=varied)
    return pd.Series(shares).sort_values(ascending=False, kind="stable"), len(trials)


def _draw_bars(axes: Axes, found: pd.Series) -> None:
    places = np.arange(len(found))
    axes.barh(places, found, color=style.OTHER_COLOURS[0], height=0.7)
    axes.set_yticks(places, [parameter_label(str(name)) for name in found.index])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * max(0.1, float(found.max())))
    axes.set_xlabel("share of the importance")
    for place, share in zip(places, found, strict=True):
        axes.annotate(
            f"{100 * share:.0f} %",
            (share, place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=style.CAPTION_PT,
            bbox=style.ON_GRID,
        )
