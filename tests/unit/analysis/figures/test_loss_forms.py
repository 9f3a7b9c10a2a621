from pathlib import Path

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.loss_forms import loss_forms_figure
from tests.made.analysed_study import NINE_TRIALS, write_study
from tests.made.drawn import text_of


def test_forms_show_the_paired_difference_and_how_many_trials_were_scored(
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
    assert "negative_l2\n0 of 1 trials" in labels
    assert "none scored" in [text.get_text() for text in figure.axes[0].texts]
