from pathlib import Path

import numpy as np
import pytest

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.loss_forms import loss_forms_figure
from diffrop.analysis.figures.style import form_style
from diffrop.analysis.figures.tau_schedules import KEY, tau_schedules_figure
from tests.made.analysed_study import NINE_TRIALS, write_study
from tests.made.drawn import lines_of, points, sentence_of


@pytest.mark.parametrize(
    ("draw", "key"), [(loss_forms_figure, "form"), (tau_schedules_figure, KEY)]
)
def test_each_row_has_its_trials_and_its_best_with_the_interval(
    full_study: StudyResults, draw, key: str
) -> None:
    (axes,) = draw(full_study).axes
    complete = full_study.trials[full_study.trials["state"] == "COMPLETE"]
    groups = complete[~complete["baseline"]].groupby(key)
    assert len(groups) == 4
    intervals = {tuple(np.round(line.get_xdata(), 6)) for line in lines_of(axes, "interval")}
    for choice, group in groups:
        drawn = {x for line in lines_of(axes, str(choice)) for x, _ in points(line)}
        assert drawn == set(group["value"])
        best = group.loc[group["value"].idxmin()]
        (line,) = lines_of(axes, f"{choice} best")
        assert list(line.get_xdata()) == [best["value"]]
        assert line.get_color() == form_style(best["form"]).colour
        assert (round(best["value_low"], 6), round(best["value_high"], 6)) in intervals
    (baseline,) = lines_of(axes, "baseline")
    assert list(baseline.get_xdata()) == [full_study.trials.loc[0, "value"]]


def test_baseline_alone_is_no_ablation(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "study", trials=NINE_TRIALS[:1]))
    assert sentence_of(loss_forms_figure(study)).startswith("No complete trial")
    assert sentence_of(tau_schedules_figure(study)).startswith("No complete trial")
