from pathlib import Path

import numpy as np
import pytest

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.loss_forms import loss_forms_figure
from diffrop.analysis.figures.style import form_style
from diffrop.analysis.figures.tau_schedules import KEY, tau_schedules_figure
from tests.made.analysed_study import NINE_TRIALS, read_trials, write_study, write_trials
from tests.made.drawn import axes_of, lines_of, points, sentence_of, text_of
from tests.made.large_study import BROKEN, INFEASIBLE_BEST


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


def test_best_of_a_row_meets_the_constraints_and_what_does_not_is_hollow(
    large_study: StudyResults,
) -> None:
    figure = loss_forms_figure(large_study)
    axes = axes_of(figure, "form")
    complete = large_study.trials[large_study.trials["state"] == "COMPLETE"]
    scored = complete[complete["form"] == "reciprocal"]
    feasible = scored[scored["feasible"].astype(bool)]
    lowest = complete.set_index("number").loc[INFEASIBLE_BEST]
    [best] = lines_of(axes, "reciprocal best")
    baseline = large_study.trials["value"][0]
    assert lowest["value"] == scored["value"].min() and not lowest["feasible"]
    assert best.get_xdata()[0] == pytest.approx(feasible["value"].min() - baseline)
    hollow = [
        line for line in lines_of(axes, "reciprocal") if line.get_markerfacecolor() == "none"
    ]
    shown = {float(x) for line in hollow for x in line.get_xdata()}
    assert lowest["value"] - baseline in shown
    assert len(shown) == len(scored) - len(feasible)
    assert "hollow: breaks a constraint" in text_of(figure)


def test_broken_trial_is_an_arrow_with_its_number(large_study: StudyResults) -> None:
    axes = axes_of(loss_forms_figure(large_study), "form")
    broken = large_study.trials.set_index("number").loc[BROKEN, "value"]
    texts = [text.get_text() for text in axes.texts]
    assert f"{broken - large_study.trials['value'][0]:+.1f}" in texts
    assert len(lines_of(axes, "beyond")) == 1
    highest = max(float(x) for line in lines_of(axes, "negative_l2") for x in line.get_xdata())
    low, high = axes.get_xlim()
    assert (highest - low) / (high - low) < 0.9  # nothing lies under the arrow's number
