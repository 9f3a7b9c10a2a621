import dataclasses
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.drawing import (
    applicable_figures,
    draw_figures,
    or_failure,
    save_figures,
)
from diffrop.analysis.figures.registry import TITLES, StudyFigure, study_figure
from diffrop.analysis.figures.style import is_words, new_figure
from diffrop.analysis.report.page import write_page
from diffrop.shot_groups import SHOT_GROUPS
from tests.made.analysed_study import NINE_TRIALS, write_study
from tests.made.drawn import sentence_of
from tests.made.html_page import Page


def test_png_and_svg_of_each_figure_that_applies_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffrop.analysis.figures.style.PNG_DPI", 40)
    directory = write_study(tmp_path / "study", trials=NINE_TRIALS[:2])
    study = load_study(directory)
    paths = save_figures(draw_figures(study), directory / "figures")
    entries = applicable_figures(study)
    names = [f"{entry.name}.{kind}" for entry in entries for kind in ("png", "svg")]
    assert [path.name for path in paths] == names
    left_out = set(TITLES) - {entry.name for entry in entries}
    assert left_out >= {"confirmation", "tau_schedules", "sample_neighbours", "class_confusion"}
    assert {path.parent for path in paths} == {directory / "figures"}
    assert all(path.read_bytes().startswith((b"\x89PNG", b"<?xml")) for path in paths)


def failing_when_written(text: str) -> Figure:
    """A figure whose drawing fails only once it is written: no glyph can be looked up."""
    figure = new_figure(2)
    axes = figure.add_subplot()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: 1 / 0))
    figure.supxlabel(text)
    return figure


def test_figure_that_fails_when_it_is_written_costs_only_itself(tmp_path: Path) -> None:
    items = [StudyFigure(name, f"Title {name}", failing_when_written, "") for name in "abc"]
    figures = [new_figure(1), failing_when_written("Protocol."), new_figure(1)]
    drawn = list(zip(items, figures, strict=True))
    paths = save_figures(drawn, tmp_path)
    assert [path.name for path in paths] == [
        f"{n}.{kind}" for n in "abc" for kind in ("png", "svg")
    ]
    study = load_study(write_study(tmp_path / "study", trials=NINE_TRIALS[:2]))
    page = Page(write_page(study, drawn, tmp_path).read_text("utf-8"))
    assert [a["aria-label"] for tag, a in page.tags if tag == "svg"] == [i.title for i in items]


def test_place_of_a_failed_figure_says_why() -> None:
    seen = []

    def work(figure: Figure) -> str:
        seen.append(figure)
        figure.draw_without_rendering()
        return sentence_of(figure)

    assert "division by zero" in or_failure(failing_when_written("Protocol."), work)
    assert seen[1].get_supxlabel() == "Protocol."


def test_figure_that_cannot_say_whether_it_applies_is_drawn_and_says_so(
    study: StudyResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(study: StudyResults) -> bool:
        raise KeyError("accuracy/few")

    item = StudyFigure("broken", "A title", failing_when_written, "", fail)
    monkeypatch.setattr("diffrop.analysis.figures.drawing.TITLES", ["broken"])
    monkeypatch.setattr("diffrop.analysis.figures.drawing.study_figure", lambda name: item)
    assert applicable_figures(study) == [item]


def test_disk_that_is_full_is_no_fault_of_a_figure(tmp_path: Path) -> None:
    def full(figure: Figure) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        or_failure(new_figure(1), full)


def num_points(axes: Axes) -> int:
    """How many points of trials a panel has."""
    lines = [line for line in axes.lines if line.get_label() not in ("no difference", "best")]
    drawn = {tuple(point) for line in lines for point in line.get_xydata()}
    return len(drawn) + sum(len(found.get_offsets()) for found in axes.collections)


def test_study_of_two_trials_has_no_sentence_and_no_panel_of_one_point(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "study", trials=NINE_TRIALS[:2]))
    drawn = {item.name: figure for item, figure in draw_figures(study)}
    left_out = {"tau_sensitivity", "margin_sensitivity", "gradient_ratio", "decay_heatmap"}
    left_out |= {"evaluations", "omega_sensitivity", "parallel_coordinates"}
    assert not left_out & drawn.keys() and {"loss_forms", "learning_curves"} <= drawn.keys()
    for name, figure in drawn.items():
        assert not is_words(figure), name
        for axes in figure.axes:
            assert num_points(axes) > 1 or axes.images or axes.patches, (name, axes.get_label())


def test_baseline_alone_leaves_out_what_compares(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "study", trials=NINE_TRIALS[:1]))
    names = {item.name for item in applicable_figures(study)}
    assert names == {"guidance_curve", "learning_curves", "sample_grids"}


@pytest.mark.parametrize("item", map(study_figure, TITLES), ids=lambda item: item.name)
def test_no_figure_draws_scores_of_36_samples(full_study: StudyResults, item: StudyFigure) -> None:
    groups = {f"num_samples/{name}": 36 for name in SHOT_GROUPS}
    rows = full_study.measurements
    study = dataclasses.replace(
        full_study,
        trials=full_study.trials.assign(**groups),
        measurements=rows.assign(num_samples=rows["num_samples"].where(rows["final"], 36)),
    )
    figure = item.draw(study)
    assert not {"shot_groups", "rung_ranks", "pareto_front"} & {item.name} or is_words(figure)
    texts = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    assert not [text for text in texts if "N = 36" in text]
    labels = [axes.get_label() for axes in figure.axes]
    assert item.name != "learning_curves" or labels == ["loss/ddpm"]
