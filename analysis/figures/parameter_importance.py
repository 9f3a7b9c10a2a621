"""Figure: how much of the objective's variance each searched parameter explains."""

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
    "Optuna's fANOVA: the share of the objective's variance over the space that a forest of "
    "trees, fitted to the trials scored in full, gives to each parameter alone or in combination. "
    "Bars are means over forests grown from different seeds, whiskers their range. Read it with "
    "care: a search samples good regions more densely, stopped trials are missing, and with fewer "
    "than about 30 trials the order is only a hint."
)
MIN_TRIALS = 4
NUM_FORESTS = 5
NUM_TREES = 32


def applies(study: StudyResults) -> bool:
    """Return whether there are enough trials for a forest of trees."""
    return len(contrastive_trials(study)) >= MIN_TRIALS


def parameter_importance_figure(study: StudyResults) -> Figure:
    """Draw a bar for each parameter that all comparable trials have and that varies.

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
    left_out = [name for name in searched_columns(study) if name not in found.index]
    text = f"fANOVA of {num_trials} trials; {style.caption(study)}"
    if left_out:
        names = ", ".join(parameter_label(name) for name in left_out)
        text += f"; without {names}, which not every trial has or which did not vary"
    style.add_caption(figure, text)
    return figure


def parameter_importances(study: StudyResults) -> tuple[pd.DataFrame, int]:
    """Return the importances by parameter, in falling order, and the number of trials behind them.

    Returns:
        columns mean, low and high (over forests); empty where there is too little to tell.
    """
    import optuna

    rebuilt = optuna_study(study)
    trials = rebuilt.get_trials(deepcopy=False)
    names = [
        name
        for name in searched_columns(study)
        if all(name in trial.params for trial in trials)
        and len({trial.params[name] for trial in trials}) > 1
    ]
    values = {trial.value for trial in trials}
    if len(trials) < MIN_TRIALS or not names or len(values) < 2:
        return pd.DataFrame(columns=["mean", "low", "high"]), len(trials)
    shares = []
    for seed in range(NUM_FORESTS):
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=NUM_TREES, seed=seed)
        shares.append(
            optuna.importance.get_param_importances(rebuilt, evaluator=evaluator, params=names)
        )
    table = pd.DataFrame(shares)
    found = pd.DataFrame({"mean": table.mean(), "low": table.min(), "high": table.max()})
    return found.sort_values("mean", ascending=False), len(trials)


def _draw_bars(axes: Axes, found: pd.DataFrame) -> None:
    places = np.arange(len(found))
    bars = axes.barh(places, found["mean"], color=style.OTHER_COLOURS[0], height=0.7)
    axes.hlines(places, found["low"], found["high"], color="black", linewidth=1.2)
    axes.set_yticks(places, [parameter_label(str(name)) for name in found.index])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * max(0.1, float(found["high"].max())))
    axes.set_xlabel("share of the objective's variance")
    for bar, high, mean in zip(bars, found["high"], found["mean"], strict=True):
        axes.annotate(
            f"{100 * mean:.0f} %",
            (high, bar.get_y() + bar.get_height() / 2),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=style.CAPTION_PT,
        )
