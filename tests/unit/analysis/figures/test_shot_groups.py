from pathlib import Path

import pytest

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.shot_groups import shot_groups_figure
from diffrop.shot_groups import SHOT_GROUPS
from tests.made.analysed_study import REFERENCE_SCORES, write_study
from tests.made.drawn import lines_of, text_of


def test_shot_groups_are_differences_with_intervals(full_study: StudyResults) -> None:
    (axes,) = shot_groups_figure(full_study).axes
    trials = full_study.trials.set_index("number")
    best = trials[trials["state"] == "COMPLETE"].sort_values("value").drop_duplicates("form")
    intervals = [tuple(line.get_xdata()) for line in lines_of(axes, "interval")]
    for group in SHOT_GROUPS:
        for number, trial in best.drop(0).iterrows():
            (marker,) = lines_of(axes, f"{group} {trial['form']}")
            change = trial[f"fid/{group}"] - trials.loc[0, f"fid/{group}"]
            assert marker.get_xdata()[0] == pytest.approx(change), number
            ends = (trial[f"difference_low/fid/{group}"], trial[f"difference_high/fid/{group}"])
            assert ends in intervals and ends[0] < change < ends[1]
    assert f"baseline {trials.loc[0, 'fid/few']:.1f}" in axes.get_yticklabels()[-1].get_text()
    assert axes.get_ylim() == (2.5, -0.5)


def test_shot_groups_mention_the_reference_scores(study: StudyResults, tmp_path: Path) -> None:
    text = text_of(shot_groups_figure(study))
    few = REFERENCE_SCORES["real"]["scores"]["fid/few"]
    assert "Real images in place of samples (N = 300 each): many 5.20" in text
    assert f"few {few:.2f}" in text and "Pure noise" in text and "501.0" in text
    bare = load_study(write_study(tmp_path / "study", reference_scores=False))
    assert "Real images" not in text_of(shot_groups_figure(bare))
