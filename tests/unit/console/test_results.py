import dataclasses
import io
import shutil

import pytest
from rich.console import Console

from diffrop.console.results import metrics_table, protocol, remarks, results_table
from diffrop.record.results import StudyResult
from diffrop.record.study_store import StudyStore
from diffrop.scoring.paired_differences import with_differences
from tests.made.finished_study import reader
from tests.made.scores import score_card
from tests.made.small import constrained

Finished = tuple[StudyStore, StudyResult]


def test_table_fits_80_columns_and_shows_no_fid_of_a_pruned_trial(finished: Finished) -> None:
    console = Console(width=80, record=True, quiet=False, file=io.StringIO())
    console.print(results_table(finished[1]))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert lines[1].split()[:7] == ["1", "hinge", "3.25", "0.2", "1.01", "1", "40.00"]
    assert lines[2].split()[:2] == ["2", "baseline"]
    assert lines[3].split() == ["hinge", "3.25", "0.2", "1.01", *"-----", "PRUNED", "64"]
    assert lines[4].split()[-1] == "FAIL"
    assert "N = 40 over all classes, N = 12 per shot group" in protocol(finished[1])
    assert any("cannot be compared" in line for line in remarks(finished[1]))


@pytest.mark.parametrize(
    ("constraint", "said"),
    [
        ("fid/many <= 41", "1 of 2 ranked trials keep fid/many <= 41."),
        ("fid/many <= 5", "0 of 2 ranked trials keep fid/many <= 5. First is the one that"),
        ("fid/many <= baseline + 5%", "2 of 2 ranked trials keep fid/many <= baseline + 5%."),
    ],
)
def test_terminal_says_whether_trials_keep_the_constraints(
    finished: Finished, constraint: str, said: str
) -> None:
    store, result = finished
    found = reader(store, constrained(result.config, constraint)).read()
    assert any(line.startswith(said) for line in remarks(found))


def test_constraint_against_a_baseline_without_a_score_cannot_be_told(finished: Finished) -> None:
    store, result = finished
    shutil.rmtree(store.folder.trial(0).scores_path)
    found = reader(store, constrained(result.config, "fid/many <= baseline + 5%")).read()
    assert any("cannot be told: the baseline has no full score" in line for line in remarks(found))


def test_differences_to_the_baseline_are_shown(finished: Finished) -> None:
    text = " ".join(remarks(with_differences(finished[1])))
    assert "The baseline's fid/all is 50.00, [47.00, 53.00]" in text
    assert "t001 hinge tau_0=3.25 less the baseline: -10.00 [-10." in text


def test_every_metric_of_a_card_fits_80_columns() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(metrics_table(score_card(37.4069, half_width=3)))
    lines = console.export_text().splitlines()
    assert lines[0].split() == ["metric", "all", "many", "medium", "few"]
    assert lines[1].split() == ["fid", "37.41", "+-3", "38.41", "-", "39.41"]
    assert max(map(len, lines)) <= 80


def test_study_without_a_ranked_trial_says_so(finished: Finished) -> None:
    unranked = [dataclasses.replace(trial, rank=None) for trial in finished[1].trials]
    found = dataclasses.replace(finished[1], trials=unranked)
    assert protocol(found) == "No trial was completed."
