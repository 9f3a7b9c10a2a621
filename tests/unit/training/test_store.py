import dataclasses
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from diffrop.checkpoint_file import read_checkpoint, write_checkpoint
from diffrop.data import load_dataset
from diffrop.errors import CheckpointError
from diffrop.record.trainings import TrainingSegment
from diffrop.training.identity import checkpoint_key, identify
from diffrop.training.store import CheckpointStore
from diffrop.training.trainer import Trainer
from tests.made.checkpoints import checkpoint, damage, filled, identity
from tests.made.small import small_experiment
from tests.made.trainings import CPU


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "runs/checkpoints")


def test_folder_says_what_was_trained(store: CheckpointStore) -> None:
    folder = store.open(identity(3, checkpoint_key("0" * 32, 64)))
    content = json.loads((folder.path / "training.json").read_text())
    assert content["key"] == folder.key == folder.path.name
    assert (content["seed"], content["world_size"]) == (3, 1)
    assert content["parent"] == checkpoint_key("0" * 32, 64)
    assert [found.identity().key for found in store.folders()] == [folder.key]
    (folder.path / "training.json").write_text("{")
    with pytest.raises(CheckpointError, match="does not say what was trained"):
        folder.identity()


def test_pinned_checkpoints_outlive_the_thinning(store: CheckpointStore) -> None:
    folder = store.open(identity(), keep=2)
    folder.pin("study", [64, 192])
    for images in range(32, 321, 32):
        folder.save(images, checkpoint(images=images))
    assert folder.images() == [64, 192, 288, 320]
    folder.pin("other", [288])
    folder.unpin("study")
    folder.save(352, checkpoint(images=352))
    assert folder.images() == [288, 320, 352]
    assert folder.pins() == {"other": [288]}


def test_what_was_trained_beyond_stays_when_an_earlier_part_is_trained_again(
    store: CheckpointStore,
) -> None:
    folder = store.open(identity(), keep=2)
    for images in (64, 256, 320):
        folder.save(images, checkpoint(images=images))
    for images in (96, 128, 160):
        folder.save(images, checkpoint(images=images))
    assert folder.images() == [128, 160, 256, 320]


def test_newest_is_looked_for_in_a_range(store: CheckpointStore) -> None:
    folder = filled(store, 0, 64, 128, 192)

    def value(**bounds: int) -> float | None:
        found = folder.newest(**bounds)
        return None if found is None else found.tensors["model.a"][0, 0].item()

    assert value() == 192 and value(at_most=150) == 128 and value(at_most=63) is None
    assert value(at_most=128, more_than=128) is None
    damage(folder.path_of(128), "flip")
    with pytest.warns(UserWarning, match="the one before it is used"):
        assert value(at_most=150) == 64


def test_damaged_checkpoint_is_not_held(store: CheckpointStore) -> None:
    folder = filled(store, 0, 64, 128)
    assert folder.holds(64) and folder.holds(128) and not folder.holds(96)
    damage(folder.path_of(128), "flip")
    with pytest.warns(UserWarning, match="SHA-256; it is replaced"):
        assert not folder.holds(128)


HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(300)
"""


def test_training_is_held_until_its_process_ends_however_it_ends(store: CheckpointStore) -> None:
    folder = store.open(identity())
    with folder.try_hold() as held, folder.try_hold() as again:
        assert held and not again
    command = [sys.executable, "-c", HOLDER, str(folder.path / "training.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with folder.try_hold() as held:
            assert not held
        process.kill()
    with folder.try_hold() as held:
        assert held


def test_what_was_trained_is_written_down(store: CheckpointStore) -> None:
    folder = filled(store, 0)
    parts = [
        TrainingSegment(begin, begin + 64, 2.5, workers=2, gpus=1.0, time=float(begin))
        for begin in (0, 64)
    ]
    for part in parts:
        folder.record.add_segment(part)
    with (folder.path / "cost.jsonl").open("a") as file:
        file.write('{"from": 128, "to"')  # killed amid a line
    assert folder.record.segments() == parts


def test_checkpoint_from_outside_becomes_a_training_of_its_own(
    tmp_path: Path, store: CheckpointStore
) -> None:
    config = small_experiment("none")
    dataset = load_dataset(config.data)
    path = tmp_path / "outside.safetensors"
    trainer = Trainer(config, dataset, CPU)
    trainer.step()
    write_checkpoint(path, trainer.checkpoint())
    found = store.import_checkpoint(path)
    assert found.key != identify(config, 1, dataset.train_digest).key  # its past is unknown
    copied = store.folder(found.key).path_of(32)
    assert read_checkpoint(copied).card == trainer.checkpoint().card
    assert store.import_checkpoint(path).key == found.key
    assert store.import_checkpoint(copied).key == found.key  # it lies in the store now
    assert store.folder(found.key).identity().origin.startswith("checkpoint ")
    damage(copied, "flip")
    with pytest.warns(UserWarning, match="it is replaced"):
        store.import_checkpoint(path)
    assert read_checkpoint(copied).card == trainer.checkpoint().card

    elsewhere = CheckpointStore(tmp_path / "other/checkpoints")
    folder = elsewhere.open(identify(config, 1, dataset.train_digest))
    folder.save(32, trainer.checkpoint())
    assert store.import_checkpoint(folder.path_of(32)).key == folder.key  # known wherever it is


def test_drivers_that_import_a_checkpoint_at_once_do_not_tear_each_others_copy(
    tmp_path: Path, store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_experiment("none")
    path = tmp_path / "outside.safetensors"
    trainer = Trainer(config, load_dataset(config.data), CPU)
    write_checkpoint(path, trainer.checkpoint())
    copy, begun = shutil.copyfile, []

    def copy_amid_another(source: Path, target: Path) -> None:
        begun.append(target)
        copy(source, target)
        if len(begun) == 1:
            store.import_checkpoint(path)

    monkeypatch.setattr("shutil.copyfile", copy_amid_another)
    folder = store.folder(store.import_checkpoint(path).key)
    assert len(begun) == 2 and folder.holds(0)
    assert [file.name for file in folder.path.glob(".*")] == []


@pytest.mark.parametrize("key", ["../x", "/etc", "0" * 31, "0" * 32 + "/..", ""])
def test_key_that_could_leave_the_store_is_refused(store: CheckpointStore, key: str) -> None:
    with pytest.raises(CheckpointError, match="no training's key"):
        store.folder(key)


def test_store_travels_to_the_workers(store: CheckpointStore) -> None:
    made = pickle.loads(pickle.dumps((store, identity(2))))
    assert made[0] == store and made[1].key == identity(2).key
    assert dataclasses.asdict(made[1]) == dataclasses.asdict(identity(2))
