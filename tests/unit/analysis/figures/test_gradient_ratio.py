import json
from pathlib import Path

import numpy as np

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.gradient_ratio import gradient_ratio_figure, gradient_ratios
from tests.made.analysed_study import write_study
from tests.made.drawn import lines_of, points


def test_gradient_ratio_draws_medians_of_the_logged_steps(
    study: StudyResults, study_dir: Path
) -> None:
    (axes,) = gradient_ratio_figure(study).axes
    drawn = {point for line in axes.lines for point in points(line)}
    for number in range(1, 9):
        text = (study_dir / "trials" / f"t{number:03d}" / "training/metrics.jsonl").read_text()
        ratios = [json.loads(line)["pcl/grad_ratio"] for line in text.splitlines()]
        assert (study.trials.loc[number, "tau_0"], float(np.median(ratios))) in drawn
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert set(gradient_ratios(study)["number"]) == set(range(1, 9))  # the baseline has none
    (pruned,) = lines_of(axes, "exponential, not complete")
    assert pruned.get_markerfacecolor() == "none"


def test_dead_loss_stands_at_the_lower_edge(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study")
    path = directory / "trials" / "t002" / "training/metrics.jsonl"
    path.write_text('{"images_seen": 512, "pcl/grad_ratio": 0.0}\n')
    (axes,) = gradient_ratio_figure(load_study(directory)).axes
    (dead,) = lines_of(axes, "exponential, ratio 0")
    assert list(dead.get_xdata()) == [8.5] and "0" in [text.get_text() for text in axes.texts]
