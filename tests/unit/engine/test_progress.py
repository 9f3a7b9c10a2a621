import dataclasses
from pathlib import Path

import pytest

from diffrop.engine.progress import progress_of, trial_progress
from diffrop.record.results import StudyResult, TrialResult
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trial_folder import TrialFolder
from tests.made.progress import SCORING, progress, trial
from tests.made.scores import score_card
from tests.made.small import small_study
from tests.made.stored_study import store_training, store_trial


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "unknown"), (30.0, "30 s left"), (600.0, "10 min left"), (7200.0, "2.0 h left")],
)
def test_time_left_has_a_fitting_unit(seconds: float | None, text: str) -> None:
    state = progress(trial(0), seconds_left=seconds)
    assert text in state.line
    assert dataclasses.replace(state, num_ended=4).line.endswith("done")


def result_of(folder: Path, *states: str, seconds: float = 60.0) -> StudyResult:
    """Trials in these states; those that have ended have a score."""
    trials = [
        TrialResult(
            number=number,
            state=state,
            values={"contrastive.form": "hinge" if number else "none"},
            directory=StudyFolder(folder / "small").trial(number).path,
            card=None if state == "RUNNING" else score_card(50.0 - number),
            duration_s=seconds,
            message="",
            rank=len(states) - number if state == "COMPLETE" else None,
        )
        for number, state in enumerate(states)
    ]
    return StudyResult(small_study(num_trials=4), trials)


def test_time_left_is_that_of_the_ended_trials_less_what_running_ones_had(tmp_path: Path) -> None:
    assert progress_of(result_of(tmp_path, "RUNNING"), 1).seconds_left is None
    found = result_of(tmp_path, "COMPLETE", "COMPLETE", "RUNNING")
    assert progress_of(found, 1).seconds_left == 2 * 60 - 60
    assert progress_of(found, 2).seconds_left == 30
    longer = dataclasses.replace(found.trials[2], duration_s=1e6)
    late = dataclasses.replace(found, trials=[*found.trials[:2], longer])
    assert progress_of(late, 1).seconds_left == 60  # of the trial that has not begun
    few = dataclasses.replace(late, config=small_study(num_trials=3))
    assert progress_of(few, 1).seconds_left is None  # it is late, and nobody knows by how much


def test_time_left_of_a_trial_that_is_scored_is_what_its_score_takes(tmp_path: Path) -> None:
    found = result_of(tmp_path, "COMPLETE", "COMPLETE", "RUNNING", seconds=1e6)
    trial = found.trials[2]
    config = small_study(num_trials=3)
    now = dataclasses.replace(SCORING, images_seen=128, seconds_left=200.0)
    trial.directory.mkdir(parents=True)
    with TrialFolder(trial.directory).noting_scoring(writes=True) as note:
        note(now)
        state = progress_of(dataclasses.replace(found, config=config), 1)
    assert state.seconds_left == 200 and state.trials[2].scoring == now
    assert trial_progress(trial, config).scoring is None  # it is over


def test_leader_is_the_best_of_the_ranked_trials(tmp_path: Path) -> None:
    found = progress_of(result_of(tmp_path, "COMPLETE", "COMPLETE", "RUNNING"), 1)
    assert found.best is not None and (found.best.number, found.best.score) == (1, 49.0)
    assert (found.num_ended, found.num_trials, found.images) == (2, 4, 128)
    assert progress_of(result_of(tmp_path, "RUNNING"), 1).best is None


def test_no_leader_is_named_where_nothing_was_learned(tmp_path: Path) -> None:
    result = result_of(tmp_path, "COMPLETE", "COMPLETE", "RUNNING")
    noise = {"noise": {"scores": {"fid/all": 45.0}}}
    found = progress_of(dataclasses.replace(result, reference_scores=noise), 1)
    assert found.best is None
    assert "no best can be named" in found.line
    assert "no score yet" in progress_of(result_of(tmp_path, "RUNNING"), 1).line


def test_running_trial_shows_its_own_rows_up_to_its_end(tmp_path: Path) -> None:
    running = result_of(tmp_path, "COMPLETE", "RUNNING").trials[1]
    study = StudyFolder(tmp_path / "small")
    every = small_study().experiment.training.log_every_images
    rows = [
        {"images_seen": 64, "log_every_images": every, "loss/ddpm": 0.5, "pcl/grad_ratio": 0.1},
        {"images_seen": 96, "log_every_images": every, "loss/ddpm": 0.25, "images_per_s": 9.0},
        {"images_seen": 96, "log_every_images": 2 * every, "loss/ddpm": 7.0},
        {"images_seen": 512, "log_every_images": every, "loss/ddpm": 0.01},  # a longer study's
    ]
    store_training(study.store, "key", rows=rows)
    store_trial(study.trial(1), study.store, "key")
    found = trial_progress(running, small_study())
    assert (found.images_seen, found.loss, found.images_per_s) == (96, 0.25, 9.0)
    assert found.grad_ratio == 0.1  # it is measured less often


def test_retrainings_in_progress_are_counted(tmp_path: Path) -> None:
    result = result_of(tmp_path, *["COMPLETE"] * 4)
    again = dataclasses.replace(result.trials[1], seed=2)
    found = progress_of(result, 1, [again], num_retrainings=3)
    assert found.line.endswith("1/3 retrainings")
    assert [one.label for one in found.trainings] == ["t000", "t001", "t002", "t003", "t001-s2"]


@pytest.mark.parametrize(
    ("state", "count", "shown"),
    [("RUNNING", 36, "-"), ("RUNNING", 100, "41.23"), ("COMPLETE", 36, "41.23")],
)
def test_live_page_has_no_rung_score_of_few_samples(state: str, count: int, shown: str) -> None:
    columns, rows = progress(trial(1, state, num_samples=count)).table
    assert columns[3] == "fid/few" and rows[0][3] == shown


def test_n_of_a_score_is_that_of_its_own_group(tmp_path: Path) -> None:
    found = result_of(tmp_path, "COMPLETE").trials[0]
    assert found.card is not None and found.card.num_samples == {"all": 40, "many": 12, "few": 12}
    few = dataclasses.replace(found.card, objectives=["fid/few"])
    config = small_study(num_trials=4)
    assert trial_progress(found, config).num_samples == 40
    assert trial_progress(dataclasses.replace(found, card=few), config).num_samples == 12
