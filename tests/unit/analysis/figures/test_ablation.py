from pathlib import Path

import numpy as np
import pytest

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.loss_forms import loss_forms_figure
from diffrop.analysis.figures.style import form_style
from diffrop.analysis.figures.tau_schedules import KEY, tau_schedules_figure
from tests.made.analysed_study import NINE_TRIALS, read_trials, write_study, write_trials
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
    base = full_study.trials.loc[0, "value"]
    intervals = {tuple(np.round(line.get_xdata(), 6)) for line in lines_of(axes, "interval")}
    for choice, group in groups:
        drawn = {x for line in lines_of(axes, str(choice)) for x, _ in points(line)}
        assert drawn == set(group["value"] - base)
        best = group.loc[group["value"].idxmin()]
        (line,) = lines_of(axes, f"{choice} best")
        assert list(line.get_xdata()) == [best["value"] - base]
        assert line.get_color() == form_style(best["form"]).colour
        assert (round(best["difference_low"], 6), round(best["difference_high"], 6)) in intervals
    (baseline,) = lines_of(axes, "baseline")
    assert list(baseline.get_xdata()) == [0]


def test_broken_trial_is_an_arrow_at_the_end_of_the_axis(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study")
    rows = read_trials(directory)
    rows[4]["value"] = "480.0"
    write_trials(directory, rows)
    study = load_study(directory)
    (axes,) = loss_forms_figure(study).axes
    (arrow,) = lines_of(axes, "beyond")
    form = study.trials.loc[4, "form"]
    assert arrow.get_color() == form_style(form).colour
    assert max(axes.get_xlim()) < 100
    labels = [text.get_text() for text in axes.texts]
    assert any(text.startswith("+436") for text in labels)


def test_without_a_baseline_the_scores_themselves_are_drawn(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "study", trials=NINE_TRIALS[1:6]))
    (axes,) = loss_forms_figure(study).axes
    (best,) = lines_of(axes, "reciprocal best")
    assert list(best.get_xdata()) == [study.trials.loc[0, "value"]]
    assert axes.get_xlabel() == "FID of all classes" and not lines_of(axes, "baseline")


def test_baseline_alone_is_no_ablation(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "study", trials=NINE_TRIALS[:1]))
    assert sentence_of(loss_forms_figure(study)).startswith("No complete trial")
    assert sentence_of(tau_schedules_figure(study)).startswith("No complete trial")
