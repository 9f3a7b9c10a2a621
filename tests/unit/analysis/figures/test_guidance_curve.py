import dataclasses
from pathlib import Path

import pytest

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.guidance_curve import applies, guidance_curve_figure
from diffrop.analysis.figures.style import form_style
from tests.made.analysed_study import EXPERIMENT, write_study
from tests.made.drawn import axes_of, lines_of, points, sentence_of, text_of


@pytest.mark.parametrize("score", ["fid/all", "fid/few"])
def test_guidance_curve_draws_the_best_trial_of_each_form(study: StudyResults, score: str) -> None:
    axes = axes_of(guidance_curve_figure(study), score)
    best = {"none": 0, "reciprocal": 1, "exponential": 2, "hinge": 3, "negative_l2": 4}
    for form, number in best.items():
        rows = study.measurements
        rows = rows[(rows["number"] == number) & (rows["score"] == score) & rows["final"]]
        (line,) = lines_of(axes, form_style(form).label)
        assert points(line) == set(zip(rows["omega"], rows["value"], strict=True))
        assert list(line.get_xdata()) == sorted(line.get_xdata())
    rings = {x: y for line in lines_of(axes, "best omega") for x, y in points(line)}
    assert len(lines_of(axes, "best omega")) == 5
    assert rings[1.0] in study.trials.loc[[1, 3], score].tolist()


def test_guidance_curve_names_the_n_of_each_panel(study: StudyResults) -> None:
    titles = [axes.get_title(loc="left") for axes in guidance_curve_figure(study).axes]
    assert titles == ["FID of all classes\nN = 1,000", "FID of few-shot classes\nN = 300"]


def test_guidance_curve_shows_all_classes_beside_a_few_shot_objective(tmp_path: Path) -> None:
    experiment = EXPERIMENT.with_values({"evaluation.objectives": ["fid/few"]}).to_dict()
    study = load_study(write_study(tmp_path / "study", experiment=experiment))
    labels = [axes.get_label() for axes in guidance_curve_figure(study).axes]
    assert labels == ["fid/few", "fid/all"]


def test_guidance_curve_says_which_round_it_draws(full_study: StudyResults) -> None:
    figure = guidance_curve_figure(full_study)
    assert figure.axes[0].get_title(loc="left") == "FID of all classes\nN = 250"
    text = text_of(figure)
    assert "curves from the round with N = 250 of the search for omega" in text
    # The interval belongs to the value at the full N, through which these curves do not pass.
    assert not lines_of(figure.axes[0], "interval")


def test_guidance_curve_has_the_interval_where_the_round_is_the_score(study: StudyResults) -> None:
    axes = axes_of(guidance_curve_figure(study), "fid/all")
    best = study.trials.loc[1]
    ends = {tuple(line.get_ydata()) for line in lines_of(axes, "interval")}
    assert (best["value_low"], best["value_high"]) in ends and len(ends) == 5
    assert not lines_of(axes_of(guidance_curve_figure(study), "fid/few"), "interval")


def test_single_omega_is_no_curve(study: StudyResults) -> None:
    rows = study.measurements
    single = dataclasses.replace(study, measurements=rows[rows["omega"] == 1.0])
    assert applies(study) and not applies(single)
    assert "scored at two omegas" in sentence_of(guidance_curve_figure(single))
