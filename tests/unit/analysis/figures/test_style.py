from pathlib import Path

from analysis.data.load import StudyResults, load_study
from analysis.figures.guidance_curve import guidance_curve_figure
from analysis.figures.loss_forms import loss_forms_figure
from analysis.figures.style import FORM_STYLES, caption, form_style, save_figure, sentence_figure
from analysis.figures.tau_sensitivity import tau_sensitivity_figure
from tests.made.analysed_study import (
    EXPERIMENT,
    NINE_TRIALS,
    read_trials,
    write_study,
    write_trials,
)
from tests.made.drawn import text_of

PROTOCOL = (
    "FID on classifier-digits, N = 1,000, ddim-10, against the full training set, "
    "class-weighted; digits, imbalance 0.1; 24,000 images seen"
)


def test_caption_states_the_whole_protocol(study: StudyResults) -> None:
    assert caption(study) == PROTOCOL
    groups = caption(study, scores=["fid/all", "fid/many", "fid/few"])
    assert "N = 1,000 (300 per shot group), ddim-10" in groups
    assert "N = 300 per shot group, ddim-10" in caption(study, scores=["fid/few"])


def test_caption_without_results_says_planned(unfinished_study: StudyResults) -> None:
    protocol = "FID on classifier, N = 1,000, ddim-10; digits, imbalance 0.1; 24,000 images"
    assert caption(unfinished_study) == f"{protocol}; planned, no trial is complete"


def test_forms_have_distinct_colours_and_markers() -> None:
    assert len({style.colour for style in FORM_STYLES.values()}) == len(FORM_STYLES) == 5
    assert len({style.marker for style in FORM_STYLES.values()}) == 5
    assert form_style("a form of tomorrow").label == "a form of tomorrow"


def test_dollar_signs_and_new_forms_are_plain_text(tmp_path: Path) -> None:
    experiment = EXPERIMENT.to_dict()
    experiment["data"]["dataset"] = "a$\\frac$b_{"
    directory = write_study(tmp_path / "study", trials=NINE_TRIALS[:2], experiment=experiment)
    rows = read_trials(directory)
    rows.append(rows[1] | {"number": "2", "form": "for$m"})
    write_trials(directory, rows)
    study = load_study(directory)
    for draw in (loss_forms_figure, tau_sensitivity_figure, guidance_curve_figure):
        figure = draw(study)
        figure.draw_without_rendering()
        shown = text_of(figure).replace("\\$", "$")
        assert "a$\\frac$b_{" in shown or "for$m" in shown


def test_same_study_gives_the_same_bytes(study: StudyResults, tmp_path: Path) -> None:
    first, second = (
        [path.read_bytes() for path in save_figure(figure, tmp_path, "same")]
        for figure in (sentence_figure(study, "The same."), sentence_figure(study, "The same."))
    )
    assert first == second
