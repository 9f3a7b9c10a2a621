import shutil
from pathlib import Path

import pytest
from optuna.trial import TrialState

from diffrop.errors import StorageError
from diffrop.record.result_reader import ResultReader
from diffrop.record.results import StudyResult
from diffrop.record.study_store import StudyStore
from diffrop.record.trainings import TrainingSegment
from diffrop.storage import RemoteMirror
from diffrop.study.config import LaunchConfig
from diffrop.training.store import CheckpointStore
from tests.made.finished_study import reader
from tests.made.small import constrained, small_study
from tests.made.stored_study import store_training, store_trial

Finished = tuple[StudyStore, StudyResult]


def test_scores_that_another_node_wrote_are_fetched_once_the_storage_is_back(
    tmp_path: Path, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, result = finished
    mirror = RemoteMirror((tmp_path / "remote").as_uri(), store.path.parent)
    trials = store.path / "trials"
    mirror.push(trials)
    shutil.rmtree(trials)
    checkpoints = CheckpointStore(store.path.parent / "checkpoints", mirror)
    study = store.open(LaunchConfig(resume=True))
    reader = ResultReader(study, store.folder, result.config, checkpoints.pull_trial)

    def out_of_reach(mirror: RemoteMirror, path: Path, skip: str | None = None) -> list[Path]:
        raise StorageError("out of reach")

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="out of reach"):
        patch.setattr(RemoteMirror, "pull", out_of_reach)
        assert reader.read().ranked == []
    assert [trial.number for trial in reader.read().ranked] == [1, 0]


def test_cost_of_a_trial_that_failed_before_its_first_score_is_counted(tmp_path: Path) -> None:
    config = small_study(num_trials=2)
    store = StudyStore(tmp_path, config.name)
    study = store.create(config, "command", LaunchConfig(), {})
    study.ask()
    reader = ResultReader(study, store.folder, config)
    segment = TrainingSegment(0, 48, 7.5, 1, 0.0, time=reader.account.since + 1)
    store_training(store.folder.store, "0" * 32, segments=[segment])
    store_trial(store.folder.trial(0), store.folder.store, "0" * 32)
    study.tell(0, state=TrialState.FAIL)
    (failed,) = reader.read().trials
    assert failed.training_s == 7.5


def test_trials_that_ended_are_read_from_disk_once(finished: Finished) -> None:
    store, result = finished
    found = reader(store)
    first = found.read().trials
    shutil.rmtree(store.path / "trials")
    assert first == found.read().trials == result.trials
    assert all(trial.card is not None for trial in first[:3])


def test_only_complete_trials_are_ranked(finished: Finished) -> None:
    _, result = finished
    assert [trial.number for trial in result.ranked] == [1, 0]
    assert [trial.rank for trial in result.trials] == [2, 1, None, None]
    assert result.trials[1].name == "t001 hinge tau_0=3.25"


def test_constraint_against_a_baseline_without_a_score_cannot_be_told(finished: Finished) -> None:
    store, result = finished
    shutil.rmtree(store.folder.trial(0).scores_path)
    found = reader(store, constrained(result.config, "fid/many <= baseline + 5%")).read()
    assert [trial.feasible for trial in found.trials] == [None] * 4


@pytest.mark.parametrize(
    ("constraint", "kept"),
    [
        ("fid/many <= 41", [False, True]),
        ("fid/many <= 5", [False, False]),
        ("fid/many <= baseline + 5%", [True, True]),
    ],
)
def test_ranked_trials_keep_the_constraints_or_break_them(
    finished: Finished, constraint: str, kept: list[bool]
) -> None:
    store, result = finished
    found = reader(store, constrained(result.config, constraint)).read()
    assert [trial.feasible for trial in found.trials] == [*kept, None, None]
    assert [trial.number for trial in found.ranked] == [1, 0]
