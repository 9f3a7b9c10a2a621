import dataclasses
from pathlib import Path

import pytest

from diffrop.checkpoint_file import write_checkpoint
from diffrop.data import load_dataset
from diffrop.execution.tasks import TaskMaker, check_forks, open_store
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.training.trainer import Trainer
from tests.made.checkpoints import identity
from tests.made.small import constrained, learning_rate_study, small_experiment, small_study
from tests.made.stored_study import store_trial
from tests.made.trainings import CPU

HINGE = {"contrastive.form": "hinge"}
DATASET = load_dataset(small_experiment().data)


def maker(folder: Path, study: StudyConfig | None = None, **launch: object) -> TaskMaker:
    """The tasks of a study in `folder / "runs/small"`."""
    config = study or small_study()
    launched = LaunchConfig(**launch)  # type: ignore[arg-type]
    directory = folder / "runs" / config.name
    return TaskMaker.on_driver(config, launched, directory, DATASET.train_digest, "me")


def test_trial_trains_its_point_at_every_rung_for_its_study(tmp_path: Path) -> None:
    made = maker(tmp_path)
    task = made.trial(3, HINGE)
    assert task.config.contrastive.form == "hinge"
    assert task.rungs == made.study.rungs
    assert task.folder.number == 3 and task.study == "small" and task.driver == "me"
    assert task.parent is None and task.baseline is None
    assert task.store.root == tmp_path / "runs/checkpoints"
    wider = maker(tmp_path, workers_per_trial=2)
    assert wider.trial(3, HINGE).key != task.key  # other noise


def test_trials_fork_from_the_baseline_of_their_seed(tmp_path: Path) -> None:
    made = maker(tmp_path, small_study(fork_from="baseline@32"))
    prefix, trial = made.prefix(0), made.trial(1, HINGE)
    assert prefix is not None and not prefix.scored
    assert [rung.images for rung in prefix.rungs] == [32]
    assert trial.parent == f"{prefix.key}-32"
    assert made.trial(0, {"contrastive.form": "none"}).key == prefix.key  # it goes on with it
    other = made.prefix(7)
    assert other is not None and other.key != prefix.key
    assert maker(tmp_path).prefix(0) is None


def test_given_checkpoint_is_taken_into_the_store_once(tmp_path: Path) -> None:
    path = tmp_path / "given.safetensors"
    trainer = Trainer(small_experiment("none"), DATASET, CPU)
    trainer.step()
    write_checkpoint(path, trainer.checkpoint())
    made = maker(tmp_path, small_study(fork_from=str(path)))
    assert made.imported is not None and made.imported_images == 32
    assert made.prefix(0) is None
    assert made.trial(1, HINGE).parent == f"{made.imported.key}-32"
    assert made.store.folder(made.imported.key).images() == [32]


def test_child_goes_on_from_its_parents_checkpoint(tmp_path: Path) -> None:
    made = maker(tmp_path, small_study(scheduler="pbt"))
    above = made.store.open(identity())
    store_trial(made.trial(2, HINGE).folder, made.store.root, above.key)
    child = made.trial(5, HINGE, {"trial": 2, "images": 64})
    assert child.parent == f"{above.key}-64"
    assert [rung.images for rung in child.rungs] == [128]


def test_constraints_against_the_baseline_need_its_scores(tmp_path: Path) -> None:
    made = maker(tmp_path, constrained(small_study(), "fid/many <= baseline"))
    assert made.trial(0, {}).baseline is None
    assert made.trial(1, HINGE).baseline == made.trial(0, {}).directory
    plain = maker(tmp_path, constrained(small_study(), "fid/many <= 40"))
    assert plain.trial(1, HINGE).baseline is None


def test_retraining_has_a_folder_of_its_own_and_one_rung(tmp_path: Path) -> None:
    made = maker(tmp_path)
    config = made.study.experiment.with_values({"training.seed": 5})
    task = made.retraining(3, 1, config, made.study.rungs[-1])
    assert (task.folder.number, task.folder.seed) == (3, 1)
    assert task.directory.parent.name == "confirm" and task.rungs == (made.study.rungs[-1],)


def test_store_has_a_mirror_where_the_launch_asks_for_one(tmp_path: Path) -> None:
    assert open_store(LaunchConfig(), tmp_path).mirror is None
    remote = LaunchConfig(storage_path=(tmp_path / "remote").as_uri())
    assert open_store(remote, tmp_path).mirror is not None


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (small_study(fork_from="baseline@64"), "fork_from is .*; allowed: less than the first"),
        (small_study(fork_from="elsewhere"), "fork_from is 'elsewhere'; allowed: "),
    ],
)
def test_fork_that_trials_cannot_start_from_is_refused(study: StudyConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_forks(study, DATASET)


def test_fork_that_fits_is_taken() -> None:
    check_forks(small_study(), DATASET)
    check_forks(small_study(fork_from="baseline@32"), DATASET)
    check_forks(learning_rate_study(1e-3, fork_from="baseline@32"), DATASET)


def test_guide_of_before_a_fork_is_refused_naming_what_is_there() -> None:
    def guided(share: float, fork_from: str) -> StudyConfig:
        experiment = small_experiment(evaluation__guides=[None, share])
        study = small_study(fork_from=fork_from, first_rung_images=96)
        return dataclasses.replace(study, experiment=experiment)

    check_forks(guided(0.3, "baseline@32"), DATASET)  # in whole batches, where they fork
    message = r"guides is 0\.25; allowed: shares of at least 0\.667, .* at 64 images and .* at 96"
    with pytest.raises(ValueError, match=message):
        check_forks(guided(0.25, "baseline@64"), DATASET)
