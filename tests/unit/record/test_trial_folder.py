import shutil
from pathlib import Path

import pytest

from diffrop.errors import CheckpointError
from diffrop.record.trial_folder import TrainingFailure, TrialFolder
from diffrop.storage import RemoteMirror, write_atomically
from tests.made.scores import score_card
from tests.made.stored_study import store_training, store_trial

KEY, OTHER = "0" * 32, "1" * 32


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "runs/checkpoints"


@pytest.fixture
def trial(tmp_path: Path, store: Path) -> TrialFolder:
    """A trial with two scores, whose training has one row of curves."""
    store_training(store, KEY, rows=[{"images_seen": 64, "loss": 1.0}])
    cards = [score_card(50.0, 64), score_card(40.0, 128)]
    folder = TrialFolder(tmp_path / "runs/small/trials/t007")
    return store_trial(folder, store, KEY, cards)


def test_folder_knows_its_trial_and_seed(tmp_path: Path) -> None:
    trial, again = TrialFolder(tmp_path / "t007"), TrialFolder(tmp_path / "t007-s2")
    assert (trial.number, trial.seed) == (7, None)
    assert (again.number, again.seed) == (7, 2)
    with pytest.raises(ValueError, match="seed-0 is no trial's folder"):
        _ = TrialFolder(tmp_path / "seed-0").number


def test_scores_are_read_by_images(trial: TrialFolder) -> None:
    assert [card.value for card in trial.scores()] == [50.0, 40.0]
    assert trial.score(128) == trial.scores()[1]
    assert trial.score(256) is None
    assert trial.score_files() == [trial.score_path(64), trial.score_path(128)]


def test_damaged_score_is_named_and_passed_over(trial: TrialFolder) -> None:
    trial.score_path(64).write_text("{")
    with pytest.warns(UserWarning, match=r"images_0+64.json .*its checkpoint is gone"):
        assert [card.value for card in trial.scores()] == [40.0]
    with pytest.warns(UserWarning, match="images_0+64.json"):
        assert trial.score(64) is None


def test_damaged_score_is_set_aside_while_it_can_be_made_again(trial: TrialFolder) -> None:
    for images in (64, 128):
        trial.score_path(images).write_text("null")
    trial.training().checkpoint_path(64).touch()
    with pytest.warns(UserWarning, match="set aside as images_0+64.json.damaged") as found:
        trial.set_damaged_aside(lambda path: None)
    assert len(found) == 1 and trial.score_files() == [trial.score_path(128)]


def test_score_goes_with_the_influence_of_its_samples(trial: TrialFolder) -> None:
    influence = trial.score_path(128).with_suffix(".safetensors")
    for path in (influence, trial.training().checkpoint_path(128)):
        path.touch()

    def damaged(path: Path) -> None:
        raise CheckpointError(f"{path} is damaged")

    with pytest.warns(UserWarning, match="000128.safetensors is damaged; it is set aside"):
        trial.set_damaged_aside(damaged)
    assert trial.influence_path() is None and trial.score_files() == [trial.score_path(64)]


@pytest.mark.parametrize("content", [b"", b"\xff\x00", KEY[:9].encode(), b"none"])
def test_note_and_link_of_the_training_serve_for_each_other(
    trial: TrialFolder, store: Path, content: bytes
) -> None:
    trial.training_note.write_bytes(content)
    with pytest.warns(UserWarning, match="training.key"):
        assert trial.training_key() == KEY
    with pytest.warns(UserWarning, match="training.key.damaged"):
        trial.set_damaged_aside(lambda path: None)
    assert trial.training_note.read_text().strip() == KEY
    trial.training_link.unlink()
    trial.training_link.mkdir()
    assert trial.training_key() == KEY and trial.training(store).curves()
    trial.use_training(KEY, store)
    assert trial.training_link.is_symlink()


def test_training_is_found_by_its_link_and_by_its_key(trial: TrialFolder, store: Path) -> None:
    assert not trial.training_link.readlink().is_absolute()
    assert trial.training().key == trial.training_key() == KEY
    trial.training_link.unlink()  # links do not travel
    assert trial.training(store).curves() == [{"images_seen": 64, "loss": 1.0}]
    assert trial.training().curves() == []
    nothing = TrialFolder(trial.path.with_name("t008"))
    assert nothing.training_key() is None and nothing.training(store).segments() == []


def test_another_training_takes_the_place_of_the_first(trial: TrialFolder, store: Path) -> None:
    store_training(store, OTHER)
    trial.use_training(OTHER, store)
    assert trial.training().key == trial.training_key() == OTHER


def test_checkpoint_that_was_scored_may_be_gone(trial: TrialFolder) -> None:
    path = trial.training().checkpoint_path(128)
    with pytest.raises(CheckpointError, match="which was scored, is gone"):
        trial.scored_checkpoint(128)
    path.touch()
    assert trial.scored_checkpoint(128).resolve() == path


def test_influence_is_that_of_the_last_score(trial: TrialFolder) -> None:
    assert trial.influence_path() is None
    for images in (64, 128):
        trial.score_path(images).with_suffix(".safetensors").touch()
    assert trial.influence_path() == trial.score_path(128).with_suffix(".safetensors")


def test_sample_grids_are_listed_by_images(trial: TrialFolder) -> None:
    for images in (128, 64):
        trial.grid_path(images).parent.mkdir(exist_ok=True)
        trial.grid_path(images).touch()
    assert trial.grids() == [trial.grid_path(64), trial.grid_path(128)]


def test_failure_of_a_retraining_is_written_down(trial: TrialFolder) -> None:
    assert trial.failure() is None
    trial.record_failure(TrainingFailure("non-finite loss", KEY))
    assert trial.failure() == TrainingFailure("non-finite loss", KEY)


def test_trial_of_another_node_is_fetched_without_its_weights(
    trial: TrialFolder, store: Path, tmp_path: Path
) -> None:
    mirror = RemoteMirror((tmp_path / "remote").as_uri(), store.parent)
    write_atomically(trial.training().checkpoint_path(128), "weights")
    expected = trial.scores()
    for folder in (trial.path, store / KEY):
        mirror.push(folder)
        shutil.rmtree(folder)
    trial.pull(store, None)
    assert trial.scores() == []
    trial.pull(store, mirror)
    assert trial.scores() == expected
    assert trial.training().curves() == [{"images_seen": 64, "loss": 1.0}]
    assert trial.training().checkpoints() == []
