import shutil
from pathlib import Path

import pytest
from optuna.trial import TrialState

from diffrop.errors import StorageError
from diffrop.record.results import ResultReader, StudyResult
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
<<<<<<< HEAD
    found = reader(store, constrained(result.config, constraint)).read()
    assert [trial.feasible for trial in found.trials] == [*kept, None, None]
    assert [trial.number for trial in found.ranked] == [1, 0]
=======
    values = {"evaluation.constraints": [constraint]}
    config = dataclasses.replace(
        result.config, experiment=result.config.experiment.with_values(values)
    )
    study = store.open(LaunchConfig(resume=True))
    found = ResultReader(study, store, config).read()
    assert any(line.startswith(said) for line in remarks(found))
    write_results(found, store)
    provenance = yaml.safe_load((store.path / "best.yaml").read_text())["provenance"]
    assert provenance["constraints"] == [constraint]
    assert provenance["feasible"] is not said.startswith("0")


def test_constraint_against_a_baseline_without_a_score_cannot_be_told(
    finished: tuple[StudyStore, StudyResult],
) -> None:
    store, result = finished
    values = {"evaluation.constraints": ["fid/many <= baseline + 5%"]}
    config = dataclasses.replace(
        result.config, experiment=result.config.experiment.with_values(values)
    )
    shutil.rmtree(store.folder.trial(0).path / "scores")
    found = ResultReader(store.open(LaunchConfig(resume=True)), store, config).read()
    assert any("is unknown: the baseline has no full score" in line for line in remarks(found))


def test_differences_to_the_baseline_are_paired_and_shown(
    finished: tuple[StudyStore, StudyResult],
) -> None:
    store, result = finished[0], with_differences(finished[1])
    found = result.differences[1]
    assert list(result.differences) == [1] and found.value == -10
    labels = influence(0)["labels/all"]
    own = influence(1)["fid/all"] - influence(0)["fid/all"]
    expected = influence_interval(-10, own, labels)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-4)
    assert found.high - found.low < 4  # and not about 60
    text = " ".join(remarks(result))
    assert "The baseline's fid/all is 50.00, [47.00, 53.00]" in text
    assert "t001 hinge tau_0=3.25 less the baseline: -10.00 [-10." in text
    write_results(result, store)
    frame = pd.read_csv(store.path / "trials.csv")
    assert frame["difference_value"].notna().tolist() == [False, True, False, False]
    exported = yaml.safe_load((store.path / "best.yaml").read_text())["provenance"]
    assert exported["difference"]["high"] == pytest.approx(found.high)


def test_trial_without_its_samples_influence_has_no_difference(
    finished: tuple[StudyStore, StudyResult],
) -> None:
    store, result = finished
    path = influence_path(store.folder.trial(1).path)
    assert path is not None
    path.write_bytes(b"damaged")
    assert with_differences(result).differences == {}
    path.unlink()
    assert with_differences(result).differences == {}


def test_trials_of_unequal_protocols_are_not_compared(
    finished: tuple[StudyStore, StudyResult],
) -> None:
    result = finished[1]
    other = dataclasses.replace(result.trials[1], card=card(40.0, reference="test images"))
    trials = [result.trials[0], other, *result.trials[2:]]
    found = with_differences(dataclasses.replace(result, trials=trials))
    assert found.differences == {}


def test_every_metric_of_a_card_fits_80_columns() -> None:
    found = card(37.4069)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(metrics_table(found))
    lines = console.export_text().splitlines()
    assert lines[0].split() == ["metric", "all", "many", "medium", "few"]
    assert lines[1].split() == ["fid", "37.41", "+-3", "38.41", "-", "39.41"]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("fork_from", "images", "went_on_from"),
    [(None, 0, None), ("baseline@64", 64, None), ("/models/x.safetensors", 0, "/models/x")],
)
def test_export_of_a_fork_says_what_a_configuration_cannot(
    finished: tuple[StudyStore, StudyResult],
    fork_from: str | None,
    images: int,
    went_on_from: str | None,
) -> None:
    store, result = finished
    config = dataclasses.replace(result.config, fork_from=fork_from)
    write_results(dataclasses.replace(result, config=config), store)
    path = store.path / "best.yaml"
    if went_on_from is None:
        with warnings.catch_warnings(action="error"):
            final = load_export(path)
    else:
        with pytest.warns(UserWarning, match=f"went on from {went_on_from}"):
            final = load_export(path)
    assert final.contrastive.start_images == images


def test_file_that_is_no_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("config: {}")
    with pytest.raises(ValueError, match="no exported configuration"):
        load_export(tmp_path / "x.yaml")
>>>>>>> refs/heads/console
