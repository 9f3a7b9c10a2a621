import itertools
from pathlib import Path

from matplotlib.container import BarContainer

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.shot_groups import shot_groups_figure
from diffrop.shot_groups import SHOT_GROUPS
from tests.made.analysed_study import REFERENCE_SCORES, write_study
from tests.made.drawn import text_of


def test_shot_group_bars_are_the_trials_scores(study: StudyResults) -> None:
    (axes,) = shot_groups_figure(study).axes
    bars = [c for c in axes.containers if isinstance(c, BarContainer)]
    columns = [f"fid/{group}" for group in SHOT_GROUPS]
    heights = [[bar.get_height() for bar in container] for container in bars]
    assert heights == study.trials.loc[[0, 4, 3, 1, 2], columns].values.tolist()
    assert axes.get_ylim()[0] == 0
    edges = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for c in bars for bar in c)
    assert all(right <= left for (_, right), (left, _) in itertools.pairwise(edges))


def test_shot_groups_mention_the_reference_scores(study: StudyResults, tmp_path: Path) -> None:
    text = text_of(shot_groups_figure(study))
    few = REFERENCE_SCORES["real"]["scores"]["fid/few"]
    assert "Real images in place of samples (N = 300 each): many 5.20" in text
    assert f"few {few:.2f}" in text and "Pure noise" in text and "501.0" in text
    bare = load_study(write_study(tmp_path / "study", reference_scores=False))
    assert "Real images" not in text_of(shot_groups_figure(bare))
