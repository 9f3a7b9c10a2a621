import os
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.guidance_curve import guidance_curve_figure
from diffrop.analysis.figures.loss_forms import loss_forms_figure
from diffrop.analysis.figures.style import (
    FORM_STYLES,
    add_caption,
    caption,
    form_style,
    new_figure,
    remove_caption,
    save_figure,
    sentence_figure,
)
from diffrop.analysis.figures.tau_sensitivity import tau_sensitivity_figure
from diffrop.printable import printable
from tests.made.analysed_study import (
    EXPERIMENT,
    NINE_TRIALS,
    read_trials,
    write_study,
    write_trials,
)
from tests.made.drawn import text_of
from tests.made.faults import fault
from tests.made.spoiled_study import with_worse

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


ROOT = Path(__file__).resolve().parents[4]
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted(ROOT.glob("docs/*.md"))]
SOURCES = [p for p in sorted(ROOT.glob("analysis/**/*")) if p.suffix in (".py", ".ipynb", ".j2")]
OTHER_SPELLING = re.compile(r"(?<!diffrop-)negative[ -]l2", re.IGNORECASE)
RAW_FORM = re.compile(r"\{(?![^{}]*form_style)[^{}]*\[.form.\][^{}]*\}")


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: path.name)
def test_forms_have_one_spelling(path: Path) -> None:
    """A form is called by `form_style(form).label`; presets are called by their own names."""
    text = path.read_text("utf-8")
    assert not OTHER_SPELLING.findall(text) and not RAW_FORM.findall(text)


def test_left_out_baseline_is_called_so(study: StudyResults) -> None:
    text = text_of(guidance_curve_figure(with_worse(study, [0])))
    assert f"left out: baseline ({10 * study.trials['value'][0]:.1f})" in text


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


@fault(38, "class names of any bytes, dollar signs and unknown letters in figures")
@pytest.mark.parametrize(
    "name", [os.fsdecode(b"caf\xe9"), "US$_$", "c$_b$", "\u732b", "\x1b[1m", "\0"]
)
def test_any_class_name_is_drawn_in_titles_labels_and_ticks(
    tmp_path: Path, name: str, recwarn: pytest.WarningsRecorder
) -> None:
    figure = new_figure(2)
    axes = figure.add_subplot()
    axes.set_title(f"Rarest class: {name}")
    axes.set_xlabel(name)
    axes.annotate(name, (0.5, 0.5))
    axes.set_yticks([0, 1], [printable(name), "other"])
    axes.plot([0, 1], label=name)
    figure.legend()
    paths = save_figure(figure, tmp_path, "x")
    assert all(path.stat().st_size for path in paths)
    assert axes.get_title() == f"Rarest class: {printable(name)}"
    assert not [text for text in figure.findobj(Text) if text.get_parse_math()]
    assert not recwarn.list


def test_class_name_that_is_markup_adds_nothing_to_an_svg(tmp_path: Path) -> None:
    def elements(name: str) -> set[str]:
        figure = new_figure(1)
        figure.add_subplot(title=name, xlabel=name).set_yticks([0], [name])
        (_, path) = save_figure(figure, tmp_path, "x")
        return {element.tag for element in ElementTree.parse(path).iter()}

    evil = "--><script>alert(1)</script><!-- ]]> &lt;"
    assert elements(evil) == elements("abc")


def test_dollar_signs_of_ticks_are_no_formula(tmp_path: Path) -> None:
    """Drawn like the same text in a title, whose glyphs an SVG names."""

    def glyphs(set_text: Callable[[Axes], object]) -> set[str]:
        figure = new_figure(1)
        axes = figure.add_subplot(xticks=[], yticks=[])
        set_text(axes)
        (_, path) = save_figure(figure, tmp_path, "x")
        return set(re.findall(r'id="(DejaVu[^"]*)"', path.read_text("utf-8")))

    names = ["a$b_c$"]
    ticks = glyphs(lambda axes: axes.set_yticks([0], names))
    assert ticks == glyphs(lambda axes: axes.set_title(names[0]))
    assert len(ticks) == 5


def test_same_study_gives_the_same_bytes(study: StudyResults, tmp_path: Path) -> None:
    first, second = (
        [path.read_bytes() for path in save_figure(figure, tmp_path, "same")]
        for figure in (sentence_figure(study, "The same."), sentence_figure(study, "The same."))
    )
    assert first == second


def test_caption_goes_with_its_room(study: StudyResults) -> None:
    figure = new_figure(2.0)
    axes = figure.add_subplot()
    add_caption(figure, caption(study), "a note; " * 20)
    figure.draw_without_rendering()
    height = axes.get_window_extent().height
    assert remove_caption(figure).startswith("a note") and figure.get_supxlabel() == ""
    figure.draw_without_rendering()
    assert axes.get_window_extent().height == pytest.approx(height, rel=0.12)
    assert figure.get_figheight() < 2.0 + 1.0
