import dataclasses
import importlib
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.confirmation import confirmation_figure
from diffrop.analysis.figures.decay_heatmap import decay_heatmap_figure
from diffrop.analysis.figures.margin_sensitivity import margin_sensitivity_figure
from diffrop.analysis.figures.parameter_importance import parameter_importance_figure
from diffrop.analysis.figures.registry import TITLES, study_figure
from diffrop.analysis.figures.rung_ranks import rung_ranks_figure
from tests.made.analysed_study import NINE_TRIALS, write_study
from tests.made.drawn import sentence_of, text_of

FIGURES = [study_figure(name) for name in TITLES]
COLUMN_IN = 3.3
"""Width of one column of a paper, at which text of 6 points can be read."""


@pytest.mark.parametrize("entry", FIGURES, ids=lambda entry: entry.name)
def test_every_figure_carries_its_protocol(study: StudyResults, entry) -> None:
    text = text_of(entry.draw(study))
    for part in (
        "FID on classifier-digits",
        "N = 1,000",
        "ddim-10",
        "digits, imbalance 0.1",
        "24,000 images seen",
    ):
        assert part in text


@pytest.mark.parametrize("entry", FIGURES, ids=lambda entry: entry.name)
@pytest.mark.parametrize("name", ["full_study", "unfinished_study"])
def test_nothing_is_cut_off_and_all_is_readable(
    request: pytest.FixtureRequest, name: str, entry
) -> None:
    figure = entry.draw(request.getfixturevalue(name))
    FigureCanvasAgg(figure).draw()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 >= 0 and drawn.y0 >= 0
    assert drawn.x1 <= width and drawn.y1 <= height
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in texts) * COLUMN_IN / width >= 6


@pytest.mark.parametrize("entry", FIGURES, ids=lambda entry: entry.name)
def test_registry_has_words_and_a_module_of_the_same_name(entry) -> None:
    module = importlib.import_module(f"diffrop.analysis.figures.{entry.name}")
    assert entry.draw is getattr(module, f"{entry.name}_figure")
    assert entry.title and entry.reading.endswith(".")


@pytest.mark.parametrize("entry", FIGURES, ids=lambda entry: entry.name)
def test_unfinished_study_gives_a_figure(unfinished_study: StudyResults, entry) -> None:
    figure = entry.draw(unfinished_study)
    if entry.name not in ("gradient_ratio", "learning_curves", "cost"):  # of running trials too
        (text,) = figure.axes[0].texts
        assert text.get_text().startswith("No ")
    assert "planned, no trial is complete" in text_of(figure)


@pytest.mark.parametrize("trials", [NINE_TRIALS[:2], NINE_TRIALS[7:8]])
def test_tiny_studies_draw_every_figure(tmp_path: Path, trials: tuple) -> None:
    study = load_study(write_study(tmp_path / "study", trials=trials))
    for entry in FIGURES:
        assert "FID on classifier" in text_of(entry.draw(study))


def test_too_little_for_a_search_figure_is_a_sentence(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "study", trials=NINE_TRIALS[:2]))
    assert "that takes 50 trials scored in full" in sentence_of(parameter_importance_figure(study))
    assert sentence_of(rung_ranks_figure(study)).startswith("No rung has 3 trials")
    assert sentence_of(confirmation_figure(study)).startswith("No leader was trained again")


def test_studies_without_a_hinge_or_a_tau_give_a_sentence(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "study", trials=NINE_TRIALS[:3]))
    assert sentence_of(margin_sensitivity_figure(study)).startswith("No trial with the hinge")
    bare = dataclasses.replace(study, trials=study.trials.assign(decay_temperature=np.nan))
    assert sentence_of(decay_heatmap_figure(bare)).startswith("No complete trial has a tau_0")


@pytest.mark.parametrize("entry", FIGURES, ids=lambda entry: entry.name)
@pytest.mark.parametrize("name", ["study", "full_study", "large_study"])
def test_no_legend_repeats_itself_or_a_tick(
    request: pytest.FixtureRequest, name: str, entry
) -> None:
    figure = entry.draw(request.getfixturevalue(name))
    FigureCanvasAgg(figure).draw()
    legend = [text.get_text() for found in figure.legends for text in found.get_texts()]
    ticks = {
        label.get_text()
        for axes in figure.axes
        for label in (*axes.get_xticklabels(), *axes.get_yticklabels())
        if label.get_visible()
    }
    assert len(legend) == len(set(legend)) and not ticks & set(legend)
