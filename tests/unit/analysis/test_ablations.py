from pathlib import Path

import numpy as np
import pytest

from analysis.load import StudyResults, load_study
from analysis.loss_forms import loss_forms_figure
from analysis.style import form_style
from analysis.tau_schedules import KEY, num_schedules, tau_schedules_figure, with_schedules

from .drawn import lines_of, points, sentence_of, text_of
from .fake_study import NINE_TRIALS, write_study
from .full_study import SCHEDULES


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


def test_forms_tell_the_paired_difference_and_how_many_trials_were_scored(
    full_study: StudyResults,
) -> None:
    figure = loss_forms_figure(full_study)
    best = full_study.trials[full_study.trials["rank"] == 1].iloc[0]
    expected = (
        f"{best['difference_value']:+.2f} [{best['difference_low']:+.2f}, "
        f"{best['difference_high']:+.2f}]"
    )
    assert expected in [text.get_text() for text in figure.axes[0].texts]
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels[0] == "baseline" and "reciprocal\n4 of 5 trials" in labels
    assert "one training seed a trial" in text_of(figure)


def test_form_without_a_scored_trial_keeps_its_row(tmp_path: Path) -> None:
    trials = (*NINE_TRIALS[:2], NINE_TRIALS[7])
    figure = loss_forms_figure(load_study(write_study(tmp_path / "study", trials=trials)))
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert "negative L2\n0 of 1 trials" in labels
    assert "none scored" in [text.get_text() for text in figure.axes[0].texts]


def test_schedules_that_were_not_searched_are_the_experiments(
    study: StudyResults, full_study: StudyResults
) -> None:
    assert set(with_schedules(study).trials[KEY]) == {"exponential"} and num_schedules(study) == 1
    assert num_schedules(full_study) == len(SCHEDULES)
    labels = [tick.get_text() for tick in tau_schedules_figure(study).axes[0].get_yticklabels()]
    assert labels == ["baseline", "exponential tau\n5 of 8 trials"]


def test_baseline_alone_is_no_ablation(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "study", trials=NINE_TRIALS[:1]))
    assert sentence_of(loss_forms_figure(study)).startswith("No complete trial")
    assert sentence_of(tau_schedules_figure(study)).startswith("No complete trial")
