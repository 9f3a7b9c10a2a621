import dataclasses
from pathlib import Path

import pytest

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.style import form_style
from diffrop.analysis.figures.tau_sensitivity import applies, tau_sensitivity_figure
from tests.made.analysed_study import NINE_TRIALS, read_trials, write_study, write_trials
from tests.made.drawn import axes_of, lines_of, points


@pytest.mark.parametrize("key", ["tau_0", "decay_temperature"])
def test_tau_sensitivity_draws_the_complete_trials(study: StudyResults, key: str) -> None:
    axes = axes_of(tau_sensitivity_figure(study), key)
    complete = study.trials[(study.trials["state"] == "COMPLETE") & ~study.trials["baseline"]]
    base = study.trials.loc[0, "value"]
    for form, group in complete.groupby("form"):
        (line,) = lines_of(axes, form_style(form).label)
        assert points(line) == set(zip(group[key], group["value"] - base, strict=True))
        assert line.get_color() == form_style(form).colour
    (baseline,) = lines_of(axes, "no difference")
    assert set(baseline.get_ydata()) == {0}
    (ring,) = lines_of(axes, "best")
    assert points(ring) == {(study.trials.loc[1, key], study.trials.loc[1, "value"] - base)}
    assert axes.get_xscale() == "log"


def test_tau_sensitivity_keeps_pruned_trials_off_the_objective(study: StudyResults) -> None:
    figure = tau_sensitivity_figure(study)
    drawn = {x for line in axes_of(figure, "tau_0").lines for x, _ in points(line)}
    assert not drawn & set(study.trials.loc[[6, 7, 8], "tau_0"])
    strip = axes_of(figure, "tau_0 strip")
    (pruned,) = lines_of(strip, "PRUNED")
    assert list(pruned.get_xdata()) == [0.2] and pruned.get_markerfacecolor() == "none"
    assert {x for line in lines_of(strip, "FAIL") for x in line.get_xdata()} == {92.0, 15.0}
    assert [tick.get_text() for tick in strip.get_yticklabels()] == ["failed", "pruned"]


def test_tau_sensitivity_without_other_states_has_no_strip(tmp_path: Path) -> None:
    figure = tau_sensitivity_figure(
        load_study(write_study(tmp_path / "s", trials=NINE_TRIALS[:6]))
    )
    assert [axes.get_label() for axes in figure.axes] == ["tau_0", "decay_temperature"]


def test_broken_trial_is_an_arrow_with_its_number(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study")
    rows = read_trials(directory)
    rows[4]["value"] = "480.0"
    write_trials(directory, rows)
    study = load_study(directory)
    for key in ("tau_0", "decay_temperature"):
        axes = axes_of(tau_sensitivity_figure(study), key)
        (arrow,) = lines_of(axes, "beyond")
        assert list(arrow.get_xdata()) == [study.trials.loc[4, key]]
        assert max(axes.get_ylim()) < 50
        change = 480 - study.trials.loc[0, "value"]
        assert [text.get_text() for text in axes.texts] == [f"{change:+.1f}"]


def test_tau_sensitivity_with_the_baseline_alone_is_a_sentence(tmp_path: Path) -> None:
    figure = tau_sensitivity_figure(
        load_study(write_study(tmp_path / "s", trials=NINE_TRIALS[:1]))
    )
    (text,) = figure.axes[0].texts
    assert " ".join(text.get_text().split()).endswith("The baseline has 44.0.")


def test_parameter_that_does_not_vary_has_no_panel(study: StudyResults) -> None:
    trials = study.trials.assign(decay_temperature=0.3)
    fixed = dataclasses.replace(study, trials=trials)
    assert applies(fixed)
    figure = tau_sensitivity_figure(fixed)
    assert [axes.get_label() for axes in figure.axes] == ["tau_0", "tau_0 strip"]
    assert not applies(dataclasses.replace(study, trials=trials.assign(tau_0=1.0)))
