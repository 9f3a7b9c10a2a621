import dataclasses
from pathlib import Path
from typing import Any

from diffrop.analysis.data.compare import best_trial
from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.report.protocol import space_row
from diffrop.analysis.report.sections import (
    confirmation_section,
    cost_section,
    front_section,
    known_before,
    stopping_section,
)
from diffrop.analysis.report.summary import answer
from diffrop.record.confirmation import Look
from diffrop.record.cost import StudyCost
from diffrop.record.names import trial_label
from diffrop.record.score_card import read_score, write_score
from tests.made.analysed_study import write_study
from tests.made.full_study import with_confirmation
from tests.made.scores import cost_preference


def test_confirmation_of_earlier_leaders_is_shown_but_is_no_answer(
    full_study: StudyResults,
) -> None:
    conclusion = "The confirmation is of the first 9 trials, not of the present leaders. t001 is"
    study = with_confirmation(full_study, current=False, conclusion=conclusion)
    assert not answer(study).is_confirmed and answer(full_study).is_confirmed
    assert conclusion in confirmation_section(study).sentences[0]


def test_confirmation_has_a_row_for_each_look(full_study: StudyResults) -> None:
    assert full_study.confirmation is not None
    first, second = full_study.confirmation.leaders
    looks = tuple(
        Look(num_seeds=num, mean=-2.5, low=-2.5 - width, high=-2.5 + width, level=0.01)
        for num, width in ((2, 2.0), (3, 1.0))
    )
    first = dataclasses.replace(first, looks=looks)
    study = with_confirmation(full_study, leaders=(first, second), max_seeds=9)
    section = confirmation_section(study)
    assert section.columns[:3] == ["leader", "mean", "repeated 95 % interval"]
    assert section.rows == [  # of the second leader an earlier version kept the last look only
        ["t001 reciprocal", "-2.50", "-4.50 to -0.50", "2", "-2.70, -2.30"],
        ["", "-2.50", "-3.50 to -1.50", "3", "-2.00"],
        ["t013 reciprocal", "-0.43", "-1.33 to +0.47", "3", "-0.80, -0.40, -0.10"],
    ]
    assert section.sentences[-1] == (
        "The intervals hold together with 95 % confidence, for all leaders and all looks at 3 to "
        "9 seeds."
    )
    assert "(repeated 95 % interval of the difference: " in answer(study).headline


def test_stopping_gives_agreement_counts_and_audits(full_study: StudyResults) -> None:
    section = stopping_section(full_study)
    assert section.sentences[0] == "The rungs rank as the end does, from 6,016 images on."
    assert (
        "t008, which the rule would have stopped at 12,032 images, ended at rank 11 of 13"
        in section.sentences[1]
    )
    assert section.rows == [
        ["6,016", "250", "4", "2", "13", "2", "0.62", "0.21 to 0.87"],
        ["12,032", "500", "8", "1", "13", "2", "0.81", "0.55 to 0.95"],
    ]


def test_stopping_without_a_measurement_is_said_so(study: StudyResults, tmp_path: Path) -> None:
    section = stopping_section(study)
    assert section.sentences == [
        "Whether the rungs rank as the end does has not been measured yet."
    ]
    assert section.rows == [["6,016", "-", "-", "1", "-", "-", "-", "-"]]
    trials = [(0, "RUNNING", "none", None, None, None, 1, "")]
    running = load_study(write_study(tmp_path / "s", trials=trials))
    assert stopping_section(running).sentences == ["No trial was stopped."]


def test_front_is_shown_best_first_for_several_objectives_only(
    full_study: StudyResults, study: StudyResults
) -> None:
    section = front_section(full_study)
    assert section is not None
    assert section.columns[3:] == ["fid/all", "fid/few", "constraints", "on the front"]
    assert section.sentences[0].startswith("2 of 13 choices")
    assert [row[0] for row in section.rows[:2]] == ["t001", "t010"]
    assert [row[-1] for row in section.rows[:3]] == ["yes", "yes", ""]
    assert "10 of 13 meet fid/many <= baseline + 5%." in section.sentences
    assert front_section(study) is None


def test_constraint_that_cannot_be_judged_is_unknown(
    full_study: StudyResults,
) -> None:
    assert full_study.front is not None
    unjudged = full_study.front.assign(feasible=None, front=False)
    section = front_section(dataclasses.replace(full_study, front=unjudged))
    assert section is not None
    assert {row[-2] for row in section.rows} == {"unknown"}
    assert any(
        text.startswith("0 of 13 meet fid/many <= baseline + 5%; for 13 it is unknown")
        for text in section.sentences
    )


def test_cost_puts_the_plan_beside_the_actual_cost(full_study: StudyResults) -> None:
    record = full_study.cost
    assert record is not None and record.plan is not None
    planned = cost_fields(record.plan)
    actual = StudyCost(**planned | {"worker_hours": 1.5, "images": 330_000, "disk_mib": 2_048})
    study = dataclasses.replace(full_study, cost=dataclasses.replace(record, actual=actual))
    section = cost_section(study)
    assert section.columns == ["", "planned", "actual"]
    rows = {row[0]: row[1:] for row in section.rows}
    assert rows["worker-hours"] == ["0.75", "1.5"]
    assert rows["images trained"] == ["300,000", "330,000"]
    assert rows["checkpoints, MiB"] == ["120.0", "2,048.0"]
    assert rows["images sampled"] == ["90,000", "90,000"] and "cost" not in rows


def test_cost_account_is_one_sentence_with_or_without_a_plan(full_study: StudyResults) -> None:
    assert full_study.cost is not None
    text = (
        "The study took 1.5 worker-hours: 1.2 worker-hours of training and 20.0 worker-minutes "
        "of scoring, with 113,395 samples drawn."
    )
    unfinished = cost_section(full_study)
    assert unfinished.sentences == [text] and unfinished.rows == []
    unplanned = dataclasses.replace(full_study.cost, plan=None)
    for cost in (None, unplanned):
        section = cost_section(dataclasses.replace(full_study, cost=cost))
        assert section.sentences == [text, "No plan was written before the study began."]
        assert section.rows == []


def test_cost_says_why_the_best_trial_is_sampled_cheaply(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "s"))
    best = best_trial(study)
    assert best is not None
    before = cost_section(study).sentences
    path = study.folder(int(best["number"])).score_files()[-1]
    why = cost_preference("16 evaluations an image in place of 32 change fid/all +0.7%")
    write_score(path, dataclasses.replace(read_score(path), preference=why))
    added = f"How {trial_label(int(best['number']))} is sampled: {why.reason}."
    assert cost_section(study).sentences == [before[0], added, *before[1:]]


def cost_fields(cost: StudyCost) -> dict[str, Any]:
    """What a plan and an actual cost have in common."""
    return {field.name: getattr(cost, field.name) for field in dataclasses.fields(StudyCost)}


def test_priors_of_the_space_are_named_with_the_trials_that_took_them(
    full_study: StudyResults,
) -> None:
    assert known_before(full_study) == []
    best = best_trial(full_study)
    assert best is not None
    parameters = [dict(item) for item in full_study.space]
    tau_0 = next(item for item in parameters if item["name"] == "contrastive.tau_0")
    tau_0 |= {"prior": 3.0, "confidence": "low"}
    config = {**full_study.config, "space": {"parameters": parameters}}
    for numbers, place in (
        ([2, int(best["number"])], f"the best trial ({trial_label(int(best['number']))}) is one"),
        ([2, 5], "the best trial is not one of them"),
    ):
        taken = full_study.trials["number"].isin(numbers)
        trials = full_study.trials.assign(from_prior=taken)
        study = dataclasses.replace(full_study, config=config, trials=trials)
        (sentence,) = known_before(study)
        assert "priors: contrastive.tau_0 3.0. 2 of" in sentence and place in sentence
    assert space_row(tau_0)["values"].endswith("log; prior 3.0, low confidence")
