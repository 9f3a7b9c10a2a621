"""A study's results in words and tables for the terminal."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from diffrop.confirmation.assessment import assess
from diffrop.confirmation.conclusion import confirmation_record
from diffrop.console.results import (
    conclusions,
    metrics_table,
    protocol,
    remarks,
    results_table,
    scale,
)
from diffrop.record.json_files import write_record
from diffrop.record.results import StudyResult, TrialResult
from diffrop.record.rung_agreement import AgreementRecord, RungAgreement
from diffrop.record.score_card import ScoreCard
from diffrop.record.study_folder import StudyFolder
from tests.made.confirmations import confirmation, retraining_cards
from tests.made.scores import interval, score_card
from tests.made.small import constrained, learning_rate_study, small_study


def full_card(value: float, images: int = 128) -> ScoreCard:
    """FIDs of three groups with an interval, and how often labels are right."""
    scores = {"fid/all": value, "fid/many": value + 1, "fid/few": value + 2, "accuracy/all": 0.5}
    return score_card(value, images, scores=scores, half_width=3.0)


def trial(number: int, state: str, card: ScoreCard | None, **changes: object) -> TrialResult:
    values = {"contrastive.form": "none" if number == 0 else "hinge"}
    if number:
        values |= {"contrastive.tau_0": 3.25, "contrastive.margin": 1.01}  # type: ignore[dict-item]
    fields: dict[str, object] = {
        "number": number,
        "state": state,
        "values": values,
        "directory": Path(f"t{number:03d}"),
        "card": card,
        "duration_s": 1.0,
        "message": "",
    }
    return TrialResult(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def result() -> StudyResult:
    """Baseline 50, a better hinge 40, a pruned one that looks best, a failed one."""
    trials = [
        trial(0, "COMPLETE", full_card(50.0), rank=2),
        trial(1, "COMPLETE", full_card(40.0), rank=1),
        trial(2, "PRUNED", full_card(1.0, 64)),
        trial(3, "FAIL", None, message="out of memory"),
    ]
    return StudyResult(small_study(num_trials=4), trials)


def lines_of(table: Table) -> list[str]:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    return lines


def test_table_fits_80_columns_and_shows_no_fid_of_a_pruned_trial(result: StudyResult) -> None:
    table, left_out = results_table(result)
    lines = lines_of(table)
    assert left_out == []
    assert lines[1].split()[:7] == ["t001", "hinge", "3.25", "-", "1.01", "1", "40.00"]
    assert lines[2].split()[:2] == ["t000", "baseline"]
    assert lines[3].split() == ["t002", "hinge", "3.25", "-", "1.01", *"-----", "PRUNED", "64"]
    assert lines[4].split()[-1] == "FAIL"


def test_evaluations_of_the_network_have_a_column_that_is_the_first_to_go(
    result: StudyResult,
) -> None:
    def known(one: TrialResult, count: int) -> TrialResult:
        assert one.card is not None
        curve = [dataclasses.replace(point, evaluations=count) for point in one.card.curve]
        return dataclasses.replace(one, card=dataclasses.replace(one.card, curve=curve))

    first, second, third, last = result.trials
    trials = [known(first, 5), known(second, 1_999), known(third, 10), last]
    found = dataclasses.replace(result, trials=trials)
    table, left_out = results_table(found, 120)
    head, *rows = lines_of(table)
    assert left_out == [] and head.split().index("NFE") == head.split().index("omega") + 1
    place = head.split().index("NFE")
    assert [row.split()[place] for row in rows] == ["1,999", "5", "-", "-"]
    width = max(len(line.rstrip()) for line in (head, *rows))
    assert results_table(found, width)[1] == []
    assert results_table(found, width - 1)[1] == ["NFE"]


@pytest.mark.parametrize("width", range(20, 120, 7))
def test_narrow_table_drops_columns_and_never_digits(result: StudyResult, width: int) -> None:
    whole = lines_of(results_table(result)[0])
    table, left_out = results_table(result, width)
    lines = lines_of(table)
    assert max(map(len, map(str.rstrip, lines))) <= width
    shown = lines[0].split()
    assert [heading for heading in whole[0].split() if heading in shown] == shown
    assert {*shown, *left_out} == {*whole[0].split()}
    assert "trial" in shown and "all" in shown
    assert lines[1].split()[shown.index("all")] == "40.00"


def test_table_has_a_column_for_what_was_searched_alone(result: StudyResult) -> None:
    study = learning_rate_study(3e-4)
    trials = [
        dataclasses.replace(one, values={"training.learning_rate": 3e-4} if one.number else {})
        for one in result.trials
    ]
    found = lines_of(results_table(StudyResult(study, trials))[0])
    assert found[0].split()[:3] == ["trial", "learning_rate", "omega"]
    assert found[1].split()[:2] == ["t001", "0.0003"]
    assert found[2].split()[:2] == ["t000", "baseline"]


def test_table_says_which_trials_break_a_constraint_and_keeps_the_ranks(
    result: StudyResult,
) -> None:
    kept = [dataclasses.replace(t, feasible=t.number == 0) for t in result.trials[:2]]
    ranks = [dataclasses.replace(t, rank=t.number + 1) for t in kept]  # the worse one keeps it
    found = dataclasses.replace(result, trials=ranks)
    head, *rows = lines_of(results_table(found)[0])
    place = head.split().index("kept")
    assert [row.split()[0] for row in rows] == ["t000", "t001"]
    assert [row.split()[place] for row in rows] == ["yes", "no"]
    assert "ranked by fid/all, first those that keep the constraints" in protocol(found)


def test_baseline_has_a_row_where_not_all_trials_have_one(result: StudyResult) -> None:
    rows = lines_of(results_table(result, most=2)[0])[1:]
    assert [row.split()[0] for row in rows] == ["t001", "t000"]
    worst = [dataclasses.replace(result.trials[0], rank=9), *result.trials[1:]]
    more = [trial(number, "COMPLETE", full_card(41.0), rank=number) for number in range(4, 8)]
    found = dataclasses.replace(result, trials=[*worst, *more])
    rows = lines_of(results_table(found, most=3)[0])[1:]
    assert [row.split()[0] for row in rows] == ["t001", "t004", "t000"]


def test_protocol_names_what_scores_depend_on(result: StudyResult) -> None:
    assert protocol(result) == (
        "FID on pixels, N = 40 over all classes, N = 12 per shot group, ddim-2, against the full "
        "training set, 128 images seen; ranked by fid/all."
    )
    assert protocol(dataclasses.replace(result, trials=[])) == "No trial was completed."


def test_remarks_say_what_the_table_cannot(result: StudyResult) -> None:
    found = remarks(
        dataclasses.replace(result, differences={1: {"fid/all": interval(-10.0, 0.5)}})
    )
    text = " ".join(found)
    assert "The baseline's fid/all is 50.00, [47.00, 53.00] with 95% confidence" in text
    assert "t001 hinge tau_0=3.25 less the baseline: -10.00 [-10.50, -9.50]" in text
    assert "PRUNED trials were scored on N = 40" in text and "cannot be compared" in text
    assert found[-1] == "t003 hinge tau_0=3.25 failed: out of memory"


def test_fresh_seeds_say_what_one_seed_of_the_search_is_worth(result: StudyResult) -> None:
    cards = retraining_cards(t0=[50.0, 52.0, 51.0], t3=[40.1, 41.9, 44.0])
    record = confirmation_record(assess(confirmation(3), cards), num_trials=4, num_left=0)
    differences = {1: {"fid/all": interval(-10.0, 0.5)}}
    found = remarks(dataclasses.replace(result, differences=differences, confirmation=record))
    # -9.9, -10.1 and -7: sd 1.73, and t with two degrees of freedom is 4.30.
    expected = "had a standard deviation of 1.73: that of one training says little within +-7.46."
    assert f"Over 3 fresh seeds a difference to the baseline {expected}" in found


@pytest.mark.parametrize(
    ("feasible", "expected"),
    [
        ((True, True), "2 of 2 ranked trials keep fid/many <= 5."),
        ((False, False), "0 of 2 ranked trials keep fid/many <= 5. First is the one that"),
        ((None, None), "Whether trials keep fid/many <= 5 is unknown: the baseline has no"),
    ],
)
def test_remarks_say_whether_trials_keep_the_constraints(
    result: StudyResult, feasible: tuple[bool | None, bool | None], expected: str
) -> None:
    config = constrained(result.config, "fid/many <= 5")
    kept = zip(result.trials, (*feasible, None, None), strict=True)
    trials = [dataclasses.replace(one, feasible=keeps) for one, keeps in kept]
    found = remarks(dataclasses.replace(result, config=config, trials=trials))
    assert any(line.startswith(expected) for line in found)


def test_scale_is_of_real_images_noise_and_right_labels(result: StudyResult) -> None:
    score = {"note": "half against half", "num_samples": {"all": 1_000}}
    reference_scores = {
        "real": {**score, "scores": {"fid/all": 1.5}},
        "noise": {**score, "scores": {"fid/all": 300.0}},
    }
    first, second = scale(result, reference_scores)
    assert "real images is 1.50 (half against half), of pure noise 300.00 (N = 1,000)" in first
    assert second.startswith("50% of the baseline's samples")
    assert len(scale(result, {})) == 1


def test_every_metric_of_a_card_fits_80_columns() -> None:
    card = full_card(37.4069)
    lines = lines_of(metrics_table(card.scores, card.intervals, card.extractor))
    assert lines[0].split() == ["metric", "all", "many", "medium", "few"]
    assert lines[1].split() == ["fid", "37.41", "+-3", "38.41", "-", "39.41"]
    assert lines[2].split() == ["accuracy", "0.5", "-", "-", "-"]


@pytest.mark.parametrize(
    ("width", "left_out"), [(80, []), (33, ["medium"]), (20, ["many", "medium", "few"])]
)
def test_narrow_metrics_drop_groups_and_never_digits(width: int, left_out: list[str]) -> None:
    card = full_card(37.4069)
    scores = card.scores | {"precision/all": 0.75, "recall/all": 0.25}
    lines = lines_of(metrics_table(scores, card.intervals, "inception-v3-compat", width))
    assert max(len(line.rstrip()) for line in lines) <= width
    shown = [group for group in ("all", "many", "medium", "few") if group not in left_out]
    assert lines[0].split() == ["metric", *shown]
    assert lines[1].split()[:3] == ["fid", "37.41", "+-3"]
    below = "".join("".join(lines[5:]).split())
    notes = "precision (k = 5, inception-v3-compat) recall (k = 5, inception-v3-compat)"
    named = [f"not shown: {', '.join(left_out)}"] * bool(left_out)
    assert below == "".join("".join([notes, *named]).split())


def test_conclusions_are_those_of_the_records(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    assert conclusions(folder) == []
    rung = RungAgreement(
        images=64,
        num_samples=20,
        num_steps=None,
        num_trials=12,
        num_audited=3,
        tau=0.5,
        low=0.1,
        high=0.8,
    )
    record = AgreementRecord(rungs=(rung,), conclusion="It was right.")
    write_record(folder.rung_agreement, record)
    assert conclusions(folder) == ["Rungs against the full score: It was right."]
