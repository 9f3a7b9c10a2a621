from pathlib import Path

import pytest

from diffrop.analysis.data.load import StudyResults, load_studies, load_study
from diffrop.analysis.figures.study_comparison import comparison, study_comparison_figure
from tests.made.analysed_study import NINE_TRIALS, read_trials, write_study, write_trials
from tests.made.drawn import lines_of, text_of
from tests.made.mirrored_study import mirror_study
from tests.made.spoiled_study import with_worse


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
    name = f"tau-sweep ({study.address})"  # the unfinished one has its name
    assert set(zip(rows["study"], rows["role"], strict=True)) == {
        (name, "baseline"),
        (name, "best"),
        ("bare", "best"),
    }
    with pytest.raises(ValueError, match="no study has a complete trial"):
        study_comparison_figure([unfinished_study])


def test_rows_have_the_better_study_first_and_its_best_before_its_baseline(
    study: StudyResults, tmp_path: Path
) -> None:
    other = load_study(write_study(tmp_path / "other", name="other"))
    rows = comparison([with_worse(study, range(9), 1.2), other])
    assert list(zip(rows["study"], rows["role"], strict=True)) == [
        ("other", "best"),
        ("other", "baseline"),
        ("tau-sweep", "best"),
        ("tau-sweep", "baseline"),
    ]


def test_study_far_above_the_others_is_an_arrow_with_its_number(
    study: StudyResults, tmp_path: Path
) -> None:
    other = load_study(write_study(tmp_path / "other", name="other"))
    (before,) = study_comparison_figure([study, other]).axes
    spoiled = with_worse(other, [0])
    (axes,) = study_comparison_figure([study, spoiled]).axes
    assert len(lines_of(axes, "beyond")) == 1
    assert axes.get_xlim()[1] < 1.2 * before.get_xlim()[1]
    assert f"{spoiled.trials['value'][0]:.1f}" in [text.get_text() for text in axes.texts]
    assert not lines_of(axes, "other baseline") and lines_of(axes, "other best")


def test_study_and_its_own_mirror_are_told_apart(
    tmp_path: Path, full_dir: Path, empty_database: Path
) -> None:
    uri = mirror_study(full_dir, tmp_path / "mlflow", empty_database)
    both = [load_study(full_dir), load_study(f"{uri}#full")]
    names = [f"full ({full_dir})", f"full ({uri}#full)"]
    rows = comparison(both)
    assert sorted(set(rows["study"])) == sorted(names) and len(rows) == 4
    (axes,) = study_comparison_figure(both).axes
    shown = ["".join(label.get_text().split()) for label in axes.get_yticklabels()]
    assert sorted(shown) == sorted(name.replace(" ", "") for name in names)
    frames = load_studies(both)
    for frame in (frames.trials, frames.measurements, frames.curves, frames.costs):
        assert frame["study"].unique().tolist() == names
