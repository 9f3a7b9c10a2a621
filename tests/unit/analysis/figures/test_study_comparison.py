from pathlib import Path

import pytest

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.study_comparison import comparison, study_comparison_figure
from tests.made.analysed_study import NINE_TRIALS, read_trials, write_study, write_trials
from tests.made.drawn import lines_of, text_of


def test_studies_scored_alike_share_a_panel(study: StudyResults, tmp_path: Path) -> None:
    other = load_study(write_study(tmp_path / "other", name="other", trials=NINE_TRIALS[:4]))
    figure = study_comparison_figure([study, other])
    (axes,) = figure.axes
    for one in (study, other):
        best = one.trials[one.trials["rank"] == 1].iloc[0]
        (line,) = lines_of(axes, f"{one.name} best")
        assert list(line.get_xdata()) == [best["value"]]
        (line,) = lines_of(axes, f"{one.name} baseline")
        assert list(line.get_xdata()) == [one.trials.loc[0, "value"]]
    title = " ".join(axes.get_title(loc="left").split())
    for part in ("N = 1,000", "ddim-10", "classifier-digits", "digits", "24,000 images seen"):
        assert part in title
    assert text_of(figure).startswith("One protocol")


@pytest.mark.parametrize(
    "change",
    [
        {"sampler": "ancestral-1000"},
        {"num_samples/all": "5000"},
        {"extractor": "inception"},
        {"images_seen": "48000"},
        {"reference": "test images"},
    ],
)
def test_studies_of_other_protocols_have_panels_of_their_own(
    study: StudyResults, tmp_path: Path, change: dict[str, str]
) -> None:
    directory = write_study(tmp_path / "other", name="other")
    write_trials(directory, [row | change for row in read_trials(directory)])
    figure = study_comparison_figure([study, load_study(directory)])
    assert len(figure.axes) == 2
    drawn = [{str(line.get_label()).split()[0] for line in axes.lines} for axes in figure.axes]
    assert {"tau-sweep", "interval"} in drawn and {"other", "interval"} in drawn
    assert text_of(figure).startswith("2 protocols, not comparable")


def test_study_without_a_baseline_or_without_a_trial_is_shown_as_it_is(
    study: StudyResults, unfinished_study: StudyResults, tmp_path: Path
) -> None:
    trials = NINE_TRIALS[1:3]
    bare = load_study(write_study(tmp_path / "bare", name="bare", trials=trials))
    rows = comparison([study, bare, unfinished_study])
    assert set(zip(rows["study"], rows["role"], strict=True)) == {
        ("tau-sweep", "baseline"),
        ("tau-sweep", "best"),
        ("bare", "best"),
    }
    with pytest.raises(ValueError, match="no study has a complete trial"):
        study_comparison_figure([unfinished_study])
