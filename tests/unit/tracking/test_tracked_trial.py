from functools import partial
from pathlib import Path

import pytest

from diffrop.tracking.tracked_trial import LoggedState
from tests.made.mlflow_study import (
    add_checkpoint,
    add_lines,
    add_sample,
    add_score,
    make_trial,
)


def test_half_a_line_waits_and_a_torn_one_is_skipped(tmp_path: Path) -> None:
    def logged() -> list[tuple[int, float]]:
        metrics, _ = trial.new_curves(LoggedState())
        return [(m.step, m.value) for m in metrics if m.key == "loss/ddpm"]

    trial = make_trial(tmp_path)
    add_lines(trial, count=2)
    path = trial.training.curves_path
    whole = '{"images_seen": 192, "time": 1732300009, "loss/ddpm": 5.0}\n'
    with path.open("a") as file:
        file.write(whole[:30])
    assert logged() == [(64, 0.1), (128, 0.05)]
    with path.open("a") as file:
        file.write(whole[30:] + whole[:20] + whole)  # a crash, and the resumed trial goes on
    add_lines(trial, start=4, count=1)
    assert [step for step, _ in logged()] == [64, 128, 192, 320]


def test_unknown_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="state is 'WAITING'; allowed: RUNNING, COMPLETE"):
        make_trial(tmp_path, state="WAITING")


def test_mark_changes_with_the_files_and_with_what_the_trial_says(tmp_path: Path) -> None:
    trial = make_trial(tmp_path)
    marks = [trial.mark()]
    for write in (add_lines, partial(add_score, images=64, few=9.0), add_sample):
        write(trial)
        marks.append(trial.mark())
    add_checkpoint(trial, 64)
    marks.append(trial.mark())
    marks.append(make_trial(tmp_path, message="pruned at 64 images").mark())
    assert len(set(marks)) == 6
    assert make_trial(tmp_path).mark() == marks[-2]


def test_trial_without_files_has_no_metrics(tmp_path: Path) -> None:
    trial = make_trial(tmp_path, state="COMPLETE")
    assert trial.new_curves(LoggedState())[0] == trial.new_scores(LoggedState())[0] == []
    assert trial.checkpoint() is None
