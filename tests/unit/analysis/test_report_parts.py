import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from analysis.figures import StudyFigure
from analysis.load import StudyResults, load_study
from analysis.report import picture, write_report
from analysis.sections import (
    confirmation_section,
    cost_section,
    front_section,
    learned_notes,
    stopping_section,
)
from analysis.style import new_figure
from analysis.summary import answer, best_trial
from analysis.trial_table import trial_columns, trial_rows
from diffrop.tracking.study import study_tags

from .fake_study import write_study
from .full_study import write_full_study
from .test_report import Page


@pytest.fixture(scope="module")
def full_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_full_study(tmp_path_factory.mktemp("runs") / "full")


@pytest.fixture(scope="module")
def full(full_dir: Path) -> StudyResults:
    return load_study(full_dir)


@pytest.fixture
def own_dir(full_dir: Path, tmp_path: Path) -> Path:
    """A copy of the whole runs folder, to damage."""
    shutil.copytree(full_dir.parent, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / full_dir.name


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.figures.applicable_figures", lambda study: [])


def with_confirmation(study: StudyResults, **more: Any) -> StudyResults:
    return dataclasses.replace(study, confirmation={**study.confirmation, **more})


def test_confirmation_of_earlier_leaders_is_shown_but_is_no_answer(
    full: StudyResults,
) -> None:
    verdict = "The confirmation is of the first 9 trials, not of the present leaders. t001 is"
    study = with_confirmation(full, current=False, verdict=verdict)
    assert not answer(study).settled and answer(full).settled
    assert verdict in confirmation_section(study).sentences[0]


def test_confirmed_answer_tells_the_gain_over_fresh_seeds(full: StudyResults) -> None:
    found = answer(full)
    assert found.settled and found.sure == "Confirmed over 3 fresh seeds"
    assert "2.33 lower than the baseline's (95 % interval of the difference: -3.23 to -1.43)" in (
        found.headline
    )
    assert [number for _, number, _ in found.facts] == ["43.67", "46.03", "-2.33"]
    assert "start from the same weights" in found.caveat
    assert "see the Pareto front" in found.caveat


def test_leader_that_is_not_told_from_the_baseline_is_no_difference(full: StudyResults) -> None:
    leader = dict(full.confirmation["leaders"][1])  # -1.33 to +0.47
    found = answer(with_confirmation(full, leaders=[leader], best=None))
    assert not found.settled and found.sure == "No difference found over 3 fresh seeds"
    assert "-0.43 (-1.33 to +0.47)" in found.headline


def test_leader_that_is_worse_is_not_better(full: StudyResults) -> None:
    leader = {**full.confirmation["leaders"][0], "mean": 1.2, "low": 0.4, "high": 2.0}
    found = answer(with_confirmation(full, leaders=[leader], best=None))
    assert found.sure == "Not better over 3 fresh seeds"
    assert found.headline.startswith("No leader is better. The nearest, reciprocal form")


@pytest.mark.parametrize(
    "content",
    [
        {"leaders": []},
        {"leaders": None, "baseline": None},
        {"leaders": [{"trial": 1, "mean": None, "low": None, "high": None, "differences": []}]},
        {"leaders": [{"trial": 99, "mean": 1, "low": 0, "high": 2, "differences": [1, 1]}]},
        {"leaders": ["t001"], "baseline": {"values": ["x"]}},
    ],
)
def test_confirmation_that_tells_nothing_leaves_the_answer_to_the_search(
    full: StudyResults, content: dict[str, Any]
) -> None:
    study = with_confirmation(full, **content)
    assert answer(study).sure == "One training seed, not confirmed"
    assert confirmation_section(study).sentences


def test_search_alone_says_that_it_is_one_seed(full: StudyResults) -> None:
    found = answer(dataclasses.replace(full, confirmation={}))
    assert found.sure == "One training seed, not confirmed" and "--confirm 1" in found.caveat
    assert (
        "fresh seeds; --confirm 3"
        in confirmation_section(dataclasses.replace(full, confirmation={})).sentences[0]
    )


def test_best_meets_the_constraints(full: StudyResults) -> None:
    trials = full.trials.copy()
    trials.loc[trials["number"] == 1, "feasible"] = False
    best = best_trial(dataclasses.replace(full, trials=trials))
    assert best is not None and best["number"] == 13
    trials["feasible"] = trials["feasible"].where(trials["baseline"], False)
    study = dataclasses.replace(full, trials=trials, confirmation={})
    found = answer(study)
    assert found.sure == "Constraints not met" and "fid/many <= baseline + 5%" in found.headline
    assert not any(row.best for row in trial_rows(study))


def test_table_tells_difference_constraints_front_and_audits(full: StudyResults) -> None:
    columns, rows = trial_columns(full), trial_rows(full)
    table = {row.cells[1].text: dict(zip(columns, row.cells, strict=False)) for row in rows}
    assert table["t001"]["less baseline [95 %]"].text == "-2.68 [-3.28, -2.08]"
    assert table["t001"]["constraints"].text == "met" and table["t001"]["front"].text == "yes"
    assert table["t004"]["constraints"].text == "not met"
    assert table["t008"]["state"].text == "complete (audited)"
    values = [float(table[f"t{n:03d}"]["FID all"].value) for n in (1, 13, 10)]
    assert values == sorted(values)
    assert table["t006"]["tau_0"].value == "0.2" and "FID all" not in table["t006"]


def test_stopping_gives_agreement_counts_and_audits(full: StudyResults) -> None:
    section = stopping_section(full)
    assert section.sentences[0] == "The rungs rank as the end does, from 6,016 images on."
    assert "t008, to be stopped at 12,032 images, ended at rank 11 of 13" in section.sentences[1]
    assert section.rows == [
        ["6,016", "250", "4", "2", "13", "2", "0.62", "0.21 to 0.87"],
        ["12,032", "500", "8", "1", "13", "2", "0.81", "0.55 to 0.95"],
    ]


def test_stopping_without_a_measurement_is_said_so(study: StudyResults, tmp_path: Path) -> None:
    section = stopping_section(study)
    assert section.sentences == [
        "Nothing has measured yet whether the rungs rank as the end does."
    ]
    assert section.rows == [["6,016", "-", "-", "1", "-", "-", "-", "-"]]
    trials = [(0, "RUNNING", "none", None, None, None, 1, "")]
    running = load_study(write_study(tmp_path / "s", trials=trials))
    assert stopping_section(running).sentences == ["No trial was stopped."]


def test_front_is_shown_best_first_for_several_objectives_only(
    full: StudyResults, study: StudyResults
) -> None:
    section = front_section(full)
    assert section is not None
    assert section.columns[3:] == ["fid/all", "fid/few", "constraints", "on the front"]
    assert section.sentences[0].startswith("2 of 13 choices")
    assert [row[0] for row in section.rows[:2]] == ["t001", "t010"]
    assert [row[-1] for row in section.rows[:3]] == ["yes", "yes", ""]
    assert "10 of 13 meet fid/many <= baseline + 5%." in section.sentences
    assert front_section(study) is None


def test_constraint_that_cannot_be_judged_is_unknown_and_not_broken(full: StudyResults) -> None:
    assert full.front is not None
    unjudged = full.front.assign(feasible=None, front=False)
    section = front_section(dataclasses.replace(full, front=unjudged))
    assert section is not None
    assert {row[-2] for row in section.rows} == {"unknown"}
    assert any(
        text.startswith("0 of 13 meet fid/many <= baseline + 5%; of 13 it is unknown")
        for text in section.sentences
    )


def test_cost_puts_the_plan_beside_the_fact(full: StudyResults) -> None:
    fact = {"worker_hours": 1.5, "images": 330_000, "disk_mib": 2_048, "cost": "unknown"}
    section = cost_section(dataclasses.replace(full, plan={**full.plan, "fact": fact}))
    rows = {row[0]: row[1:] for row in section.rows}
    assert rows["worker hours"] == ["0.75", "1.50", "2.00"]
    assert rows["disk"] == ["120 MiB", "2.0 GiB", "17.07"]
    assert rows["samples drawn"] == ["90,000", "-", "-"] and "GPU hours" in rows
    assert "29.3 min of training, 8.8 min of scoring" in section.sentences[0]
    assert "No plan was written" in cost_section(dataclasses.replace(full, plan={})).sentences[1]


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


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("name", ["fidelity.json", "confirm.json", "plan.json"])
@pytest.mark.parametrize("content", [{}, {"verdict": 3, "rungs": 7, "leaders": "x", "plan": [1]}])
def test_foreign_content_of_a_result_file_is_no_stack_trace(
    own_dir: Path, name: str, content: dict[str, Any]
) -> None:
    (own_dir / name).write_text(json.dumps(content))
    assert Page(write_report(own_dir).read_text(encoding="utf-8")).open == []


def test_torn_result_file_is_refused_in_one_sentence(own_dir: Path) -> None:
    (own_dir / "confirm.json").write_text('{"seeds": [1')
    with pytest.raises(ValueError, match=r"cannot read .*confirm\.json"):
        write_report(own_dir)


def test_figure_that_fails_costs_only_itself(
    full_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(study: StudyResults) -> Figure:
        raise KeyError("fid/all")

    item = StudyFigure("broken", fail, "A title", "How to read it.")
    monkeypatch.setattr("analysis.figures.applicable_figures", lambda study: [item])
    page = Page(write_report(full_dir).read_text(encoding="utf-8"))
    [label] = [a["aria-label"] for tag, a in page.tags if tag == "svg"]
    assert label == "A title" and "How to read it." in page.words


def test_figure_of_very_many_shapes_is_drawn_in_pixels() -> None:
    figure = new_figure(2.0)
    figure.add_subplot().scatter(range(9_000), range(9_000))
    item = StudyFigure("many", lambda study: figure, "Many <points>", "")
    html = picture(figure, item)
    assert html.startswith('<img class="paper" alt="Many &lt;points&gt;" src="data:image/png')
    assert len(html) < 200_000


def test_what_earlier_studies_taught_is_in_the_report_and_a_tag(
    full: StudyResults, tmp_path: Path
) -> None:
    assert learned_notes(full) == [] and "warm_start" not in study_tags(full.directory)
    study = write_full_study(tmp_path / "s")
    note = "3 of 9 trials of 'first' are known to the sampler"
    (study / "warm_start.json").write_text(json.dumps({"notes": [note]}))
    text = Page(write_report(study).read_text("utf-8")).text
    assert "Learned from earlier studies" in text and f"{note}." in text
    assert study_tags(study)["warm_start"] == note
