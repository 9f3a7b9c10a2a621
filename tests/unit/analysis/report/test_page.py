import json
import re
import shlex
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures.registry import StudyFigure, study_figure
from diffrop.analysis.figures.style import PAPER, new_figure, words_figure
from diffrop.analysis.report.page import picture, write_page
from diffrop.analysis.report.sections import confirmation_section, known_before
from diffrop.analysis.report.summary import answer
from diffrop.errors import StudyError
from diffrop.record.confirmation import ConfirmedBaseline, ConfirmedLeader
from diffrop.record.study_folder import StudyFolder
from diffrop.tracking.study import study_note
from tests.made.analysed_study import NINE_TRIALS, SPACE, read_trials, write_study, write_trials
from tests.made.faults import fault
from tests.made.full_study import with_confirmation, write_full_study
from tests.made.html_page import Page
from tests.made.written_report import write_report


@pytest.fixture(scope="module")
def html(study_dir: Path) -> str:
    path = write_report(study_dir)
    assert path == study_dir / "report.html" and not list(study_dir.glob("*.tmp"))
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


EVIL = "<script>alert('x')</script><img src=https://evil.example/x.png onerror=alert(1)>"


@pytest.fixture
def own_dir(full_dir: Path, tmp_path: Path) -> Path:
    """A copy of the whole runs folder, to damage."""
    shutil.copytree(full_dir.parent, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / full_dir.name


REMOVED: dict[str, Callable[[Path], Any]] = {
    **{
        name: lambda study, name=name: (study / name).unlink()
        for name in ("anchors.json", "fidelity.json", "confirm.json", "plan.json", "front.csv")
    },
    "trials": lambda study: shutil.rmtree(study / "trials"),
    "store": lambda study: shutil.rmtree(study.parent / "checkpoints"),
    "scores": lambda study: shutil.rmtree(study / "trials" / "t001"),
    "confirm": lambda study: shutil.rmtree(study / "confirm"),
    "rows": lambda study: (study / "trials.csv").write_text("number,state,baseline,value\n"),
}


def test_answer_comes_first_and_is_honest(page: Page, study: StudyResults) -> None:
    best, baseline = study.trials.loc[1, "value"], study.trials.loc[0, "value"]
    words = page.words
    assert "Best: reciprocal form, tau_0 = 3.2, decay temperature = 0.3." in words
    for number in (f"{best:.2f}", f"{baseline:.2f}", f"{best - baseline:+.2f}", "N = 1,000"):
        assert number in words[: words.index("Scale:")]
    assert (
        "Each trial has one training seed, and no interval here includes the spread over seeds"
        in words
    )
    heads = [words.index(name) for name in ("Answer", "Ranked by", "less baseline", "Details")]
    assert heads == sorted(heads)


@pytest.mark.usefixtures("without_figures")
def test_difference_within_the_noise_of_samples_is_called_none(tmp_path: Path) -> None:
    study = write_study(tmp_path / "close")
    rows = read_trials(study)
    rows[1] |= {"difference_value": "-1.5", "difference_low": "-4", "difference_high": "1"}
    write_trials(study, rows)
    words = Page(write_report(study).read_text()).words
    assert "No difference found. The best contrastive trial, reciprocal form" in words
    assert "-4.00 to +1.00, paired over samples" in words


@pytest.mark.usefixtures("without_figures")
def test_page_says_by_what_trials_are_ranked(full_dir: Path, page: Page) -> None:
    assert "Ranked by fid/all, at each trial's own best omega" in page.words
    several = Page(write_report(full_dir).read_text()).words
    order = "the fronts of fid/all and fid/few, first those that keep the constraints"
    assert f"Ranked by {order}, at each trial's own best omega" in several
    # Two leaders, three seeds each, all 0.351 about their mean; t with four degrees is 2.78.
    spread = "a standard deviation of 0.35: that of one training says little within +-0.98."
    assert f"Over 3 fresh seeds a difference to the baseline had {spread}" in several
    assert "fresh seeds a difference" not in page.words


@pytest.mark.usefixtures("without_figures")
def test_all_metrics_are_listed_with_their_better_direction(tmp_path: Path) -> None:
    study = write_study(tmp_path / "metrics")
    rows = read_trials(study)
    for row in rows[:2]:
        row |= {"kid/all": "0.0123", "recall/few": "0.5", "inception_score/all": "7.25"}
    write_trials(study, rows)
    words = Page(write_report(study).read_text()).words
    assert "classesbaselinet001difference FID, lower is better" in words
    assert "KID, lower all0.01230.01230" in words
    assert "improved recall, higher (k = 5, classifier-digits) few0.5000.5000" in words
    assert "Inception Score, higher all7.257.250" in words


def test_page_is_whole_and_loads_nothing(page: Page, html: str) -> None:
    assert page.open == []
    assert "http://" not in html and "https://" not in html and "@import" not in html
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "base", "form")
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:image/png;base64,"))
        assert not [name for name in attributes if name.startswith("on")]
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))


def test_figures_are_inline_and_their_ids_unique(page: Page) -> None:
    assert [tag for tag, _ in page.tags].count("svg") >= 4
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) > 50 and len(ids) == len(set(ids))
    used = [a["xlink:href"] for tag, a in page.tags if tag == "use"]
    assert used and {str(target).removeprefix("#") for target in used} <= set(ids)
    protocol = "FID on classifier-digits, N = 1,000"
    assert page.words.count(protocol) == 1  # among the details
    assert page.words.index(protocol) > page.words.index("Details")


def test_four_figures_are_open_and_the_others_folded(page: Page, html: str) -> None:
    folded = html.index(" more figures</summary>")
    assert html[:folded].count("<figure>") == 4 < html[folded:].count("<svg")
    assert html.count("How to read it</summary>") >= 8


def test_sentence_stands_behind_the_figures_that_show_something(
    study: StudyResults, tmp_path: Path
) -> None:
    def drawn(name: str, figure: Figure) -> tuple[StudyFigure, Figure]:
        return StudyFigure(name, f"Title {name}", lambda study: figure, "Words."), figure

    figures = [drawn(f"words-{place}", words_figure("No.", "Protocol.")) for place in range(4)]
    for place in range(4):
        figure = new_figure(1.0)
        figure.add_subplot().plot([1, 2], [3, 4])
        figures.append(drawn(f"plot-{place}", figure))
    html = write_page(study, figures, tmp_path).read_text(encoding="utf-8")
    titles = re.findall(r"<h3>(Title .*?)</h3>", html)
    names = [f"plot-{place}" for place in range(4)] + [f"words-{place}" for place in range(4)]
    assert titles == [f"Title {name}" for name in names]
    assert html.index("Title plot-3") < html.index("4 more figures</summary>")
    assert html.index("4 more figures</summary>") < html.index("Title words-0")


def test_paper_behind_a_number_is_the_pages(large_study: StudyResults, tmp_path: Path) -> None:
    item = study_figure("loss_forms")
    html = picture(item.draw(large_study), item)
    assert "fill: var(--page)" in html and PAPER not in html


def test_page_adapts_to_dark_and_to_phones(html: str) -> None:
    assert "prefers-color-scheme: dark" in html and "#000000" not in html
    assert 'name="viewport"' in html and ".scroll { overflow-x: auto" in html
    assert html.count("<table") == html.count('<div class="scroll')


def test_samples_have_a_section_of_their_own(html: str) -> None:
    section = html[html.index('<section id="samples">') :]
    section = section[: section.index("</section>")]
    assert section.count('<image xlink:href="data:image/png;base64,') == 2
    assert html.count('aria-label="Samples"') == 1 == section.count('aria-label="Samples"')
    assert "A grid is an impression" in section


def test_protocol_reproduction_and_versions_are_stated(page: Page) -> None:
    for part in (
        "python -m studies.tau_sweep --trials 9",
        "diffrop report",
        "torch 2.14.1",
        "Imbalance factor0.1",
        "sampling 12345",
        "0123abc",
        "1000 real images against the other 797",
        "0.995 to 1.05",
        "contrastive.form is hinge",
        "best of 0, 0.5, 1, 2 by the objective",
    ):
        assert part in page.words


def test_unfinished_study_has_a_report(unfinished_study: StudyResults) -> None:
    page = Page(write_report(unfinished_study.directory).read_text(encoding="utf-8"))
    assert "so there is no answer yet" in page.words and "stored no reference scores" in page.words
    assert "The study stored no command" in page.words and page.open == []


def test_everything_a_user_can_write_is_escaped(tmp_path: Path) -> None:
    space = {"parameters": [item | {"source": EVIL} for item in SPACE]}
    trials = [NINE_TRIALS[number] for number in (0, 1, 7)]
    directory = write_study(tmp_path / "study", trials=trials, space=space, command=EVIL)
    notes = json.dumps({"notes": [EVIL]})
    (directory / "warm_start.json").write_text(notes)
    rows = read_trials(directory)
    for row in rows:
        row["message"], row["extractor"] = EVIL, EVIL
    rows[1]["form"] = EVIL
    write_trials(directory, [row | {EVIL: str(i)} for i, row in enumerate(rows)])
    html = write_report(directory).read_text(encoding="utf-8")
    page = Page(html)
    assert html.count("<script") == 1 and "<img src=https" not in html
    assert page.words.count(EVIL) >= 8  # as text
    assert [tag for tag, _ in page.tags].count("script") == 1 and page.open == []
    assert all(a["src"].startswith("data:") for tag, a in page.tags if tag == "img")


@fault(38, "escape sequences, marks of direction and lone bytes in a report")
def test_nothing_that_acts_on_what_follows_is_in_a_report(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study", trials=NINE_TRIALS[:2], command="a\x1b[31m\u202eb")
    rows = read_trials(directory)
    rows[1]["form"] = "<script>\u2067$x$"
    write_trials(directory, rows)
    html = write_report(directory).read_text(encoding="utf-8")
    assert "\\x1b[31m\\u202eb" in html and "&lt;script&gt;\\u2067$x$" in html
    assert not set("\x1b\u202e\u2067") & set(html)


def test_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no study"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


UNJUDGED = ConfirmedLeader(trial=1, name="t001 reciprocal", objectives={})
FOREIGN = ConfirmedLeader(
    trial=99, name="t099", objectives={}, by_seed=(1.0, 1.0), mean=1.0, low=0.0, high=2.0
)
"""A leader that is no trial of the study."""


@pytest.mark.parametrize(
    "changes",
    [
        {"leaders": ()},
        {"baseline": ConfirmedBaseline()},
        {"leaders": (UNJUDGED,)},
        {"leaders": (FOREIGN,)},
    ],
)
def test_confirmation_that_tells_nothing_leaves_the_answer_to_the_search(
    full_study: StudyResults, changes: dict[str, Any]
) -> None:
    study = with_confirmation(full_study, **changes)
    assert answer(study).certainty == "One training seed, not confirmed"
    assert confirmation_section(study).sentences


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("part", REMOVED)
def test_half_deleted_study_shows_what_there_is(own_dir: Path, part: str) -> None:
    REMOVED[part](own_dir)
    page = Page(write_report(own_dir).read_text(encoding="utf-8"))
    assert page.open == [] and "Trials" in page.words and "How to reproduce" in page.words


def test_report_of_a_study_that_lost_nearly_all_draws_what_it_can(own_dir: Path) -> None:
    for name in ("trials", "store", "confirm", "front.csv", "fidelity.json", "anchors.json"):
        REMOVED[name](own_dir)
    page = Page(write_report(own_dir).read_text(encoding="utf-8"))
    assert page.open == [] and page.words.count("reciprocal") > 3
    assert "could not be drawn" not in page.words


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "ConfirmationRecord has no key 'seeds'"),
        ({"seeds": "x"}, "ConfirmationRecord.seeds is 'x'"),
    ],
)
def test_foreign_content_of_a_confirmation_is_refused_in_one_sentence(
    own_dir: Path, content: dict[str, Any], sentence: str
) -> None:
    (own_dir / "confirm.json").write_text(json.dumps(content))
    with pytest.raises(StudyError, match=rf"cannot read .*confirm.json \({sentence}") as caught:
        write_report(own_dir)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("fidelity.json", {"verdict": 3, "rungs": 7}, "AgreementRecord.rungs is 7"),
        ("plan.json", {}, "CostRecord has no key 'began'"),
        ("plan.json", {"began": 0, "plan": [1]}, r"CostRecord.plan is \[1\]"),
    ],
)
def test_foreign_content_of_what_is_made_again_is_named_and_left_out(
    own_dir: Path, name: str, content: dict[str, Any], sentence: str
) -> None:
    (own_dir / name).write_text(json.dumps(content))
    with pytest.warns(UserWarning, match=rf"cannot read .*{name} \({sentence}"):
        page = Page(write_report(own_dir).read_text(encoding="utf-8"))
    assert page.open == [] and "Trials" in page.words


@pytest.mark.usefixtures("without_figures")
def test_agreement_without_a_rung_or_a_conclusion_has_a_report(own_dir: Path) -> None:
    (own_dir / "fidelity.json").write_text("{}")
    assert Page(write_report(own_dir).read_text(encoding="utf-8")).open == []


def test_torn_result_file_is_refused_in_one_sentence(own_dir: Path) -> None:
    (own_dir / "confirm.json").write_text('{"seeds": [1')
    with pytest.raises(StudyError, match=r"cannot read .*confirm\.json"):
        write_report(own_dir)


def test_figure_that_fails_costs_only_itself(
    full_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(study: StudyResults) -> Figure:
        raise KeyError("fid/all")

    item = StudyFigure("broken", "A title", fail, "How to read it.")
    monkeypatch.setattr(
        "diffrop.analysis.figures.drawing.applicable_figures", lambda study: [item]
    )
    page = Page(write_report(full_dir).read_text(encoding="utf-8"))
    [label] = [a["aria-label"] for tag, a in page.tags if tag == "svg"]
    assert label == "A title" and "How to read it." in page.words


def test_figure_of_very_many_shapes_is_drawn_in_pixels() -> None:
    figure = new_figure(2.0)
    figure.add_subplot().scatter(range(9_000), range(9_000))
    item = StudyFigure("many", "Many <points>", lambda study: figure, "")
    html = picture(figure, item)
    assert html.startswith('<img class="paper" alt="Many &lt;points&gt;" src="data:image/png')
    assert len(html) < 200_000


def test_what_earlier_studies_taught_is_in_the_report_and_in_mlflow(
    full_study: StudyResults, tmp_path: Path
) -> None:
    assert known_before(full_study) == []
    assert "earlier" not in study_note(StudyFolder(full_study.directory))
    study = write_full_study(tmp_path / "s")
    note = "3 of 9 trials of 'first' are known to the sampler"
    (study / "warm_start.json").write_text(json.dumps({"notes": [note]}))
    text = Page(write_report(study).read_text("utf-8")).text
    assert "What the search knew before it began" in text and f"{note}." in text
    assert f"**Learned from earlier studies**: {note}" in study_note(StudyFolder(study))


@pytest.mark.usefixtures("without_figures")
def test_commands_can_be_typed_where_the_folder_has_a_blank(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "my runs" / "full", command="")
    html = write_report(directory).read_text(encoding="utf-8")
    typed = [
        shlex.split(unescape(text)) for text in re.findall(r"<pre>(diffrop .*?)</pre>", html, re.S)
    ]
    assert ["diffrop", "report", str(directory)] in typed
    trainings = [words for words in typed if words[1] == "train"]
    assert len(trainings) == 2  # as the next step, and among the commands to reproduce
    assert all(words[2:] == ["--config", f"{directory}/best.yaml"] for words in trainings)
