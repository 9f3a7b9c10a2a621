from pathlib import Path

import pytest

from diffrop.training.garbage import collect_garbage
from diffrop.training.identity import checkpoint_key
from diffrop.training.store import CheckpointStore
from tests.made.checkpoints import filled


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "runs/checkpoints")


def test_garbage_is_what_no_study_needs(store: CheckpointStore) -> None:
    trunk = filled(store, 0, 64, 128)
    kept = filled(store, 1, 128, 256, parent=checkpoint_key(trunk.key, 64))
    lost = filled(store, 2, 128, 256, parent=checkpoint_key(trunk.key, 64))
    others = filled(store, 3, 128)
    shared = filled(store, 4, 128)
    for folder in (trunk, kept, lost, shared):
        folder.pin("one", [128])
    for folder in (others, shared):
        folder.pin("two", [128])
    (lost.path / "metrics.jsonl").write_text("{}\n")
    size = trunk.path_of(128).stat().st_size

    removed = collect_garbage(store, "one", [kept.key])
    assert trunk.images() == [64]  # what the kept one forks from
    assert kept.images() == [128, 256]
    assert lost.images() == []
    assert others.images() == shared.images() == [128]  # the other study's
    assert len(removed.files) == 3 and removed.num_bytes == 3 * size
    assert (lost.path / "metrics.jsonl").exists() and (lost.path / "training.json").exists()
    assert shared.pins() == {"two": [128]}

    again = collect_garbage(store, "two", [])
    assert sorted(again.files) == sorted([others.path_of(128), shared.path_of(128)])
    assert trunk.path_of(64) in collect_garbage(store, "one", []).files
    assert trunk.images() == kept.images() == []


def test_what_guides_a_kept_fork_stays_in_the_training_that_it_forks_from(
    store: CheckpointStore,
) -> None:
    trunk = filled(store, 0, 32, 64, 96)
    middle = filled(store, 1, 128, 160, parent=checkpoint_key(trunk.key, 96))
    child = filled(store, 2, 256, parent=checkpoint_key(middle.key, 160))
    for folder in (trunk, middle):
        folder.pin("one", [32, 64, 96, 128, 160])
    child.pin("one", [64, 128, 256])
    assert child.line() == [32, 64, 96, 128, 160, 256]
    assert child.owner(64).key == child.owner(96).key == trunk.key
    collect_garbage(store, "one", [child.key])
    assert trunk.images() == [64] and middle.images() == [128, 160]


def test_training_under_way_is_no_garbage(store: CheckpointStore) -> None:
    folder = filled(store, 0, 64)
    with folder.try_hold():
        assert collect_garbage(store, "study", []).files == ()
    assert collect_garbage(store, "study", []).files == (folder.path_of(64),)
