import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffrop.checkpoint_file import read_checkpoint, write_checkpoint
from diffrop.config import ExperimentConfig
from diffrop.data import load_dataset
from diffrop.errors import CheckpointError
from diffrop.power_average import MAX_ERROR, snapshot_times
from diffrop.record.kinds import Kind, file_of
from diffrop.storage import RemoteMirror
from diffrop.training import scored_networks
from diffrop.training.garbage import collect_garbage
from diffrop.training.identity import forked, identify
from diffrop.training.network import load_ema
from diffrop.training.session import TrainingSession
from diffrop.training.stop import StopNotice
from diffrop.training.store import CheckpointStore
from tests.made.small import small_experiment, small_study
from tests.made.trainings import CPU

IMAGES, BATCH, WANTED = 512, 8, 0.07
KEPT: dict[str, Any] = {
    "training__num_images": IMAGES,
    "training__batch_size": BATCH,
    "training__checkpoint_every_images": 256,
    "training__ema_lengths": [0.05, 0.1],
}
SNAPSHOTS = {**KEPT, "training__snapshots_per_doubling": 4}
SCORED = {**SNAPSHOTS, "evaluation__ema_lengths": [None, 0.1, WANTED]}


def session(
    store: CheckpointStore,
    config: ExperimentConfig,
    fork: tuple[TrainingSession, int] | None = None,
) -> TrainingSession:
    dataset = load_dataset(config.data)
    identity = identify(config, 1, dataset.train_digest)
    if fork is not None:
        identity = forked(fork[0].identity, fork[1], config, 1, dataset.train_digest)
    stop = StopNotice(store.root.parent / "study", store.mirror)
    return TrainingSession(config, dataset, CPU, store, identity, stop)


def scored_averages(session: TrainingSession) -> dict[float | None, torch.nn.Module]:
    return scored_networks.averages(session.reach(IMAGES), session.folder)[0]


def weights(module: torch.nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().double() for p in module.parameters()])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainingSession:
    root = tmp_path_factory.mktemp("trained")
    found = session(CheckpointStore(root / "checkpoints"), small_experiment(**SCORED))
    found.reach(IMAGES)
    return found


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> dict[float | None, torch.nn.Module]:
    """The averages of the same training when all of them are kept."""
    root = tmp_path_factory.mktemp("exact")
    config = small_experiment(**(KEPT | {"training__ema_lengths": [0.05, WANTED, 0.1]}))
    return dict(session(CheckpointStore(root / "checkpoints"), config).reach(IMAGES).averages)


def assert_close_to(found: torch.nn.Module, exact: dict[float | None, torch.nn.Module]) -> None:
    off = (weights(found) - weights(exact[WANTED])).norm()
    assert 0 < off < MAX_ERROR * (weights(exact[0.05]) - weights(exact[0.1])).norm()


def test_average_that_was_not_kept_is_close_to_the_one_kept(
    trained: TrainingSession, exact: dict[float | None, torch.nn.Module]
) -> None:
    averages = scored_averages(trained)
    assert set(averages) == {None, 0.05, 0.1, WANTED}
    assert weights(averages[0.1]).equal(weights(exact[0.1]))  # exact, as without snapshots
    assert_close_to(averages[WANTED], exact)


def test_error_of_a_reconstruction_is_known_before_and_after(trained: TrainingSession) -> None:
    errors = scored_networks.averages(trained.reach(IMAGES), trained.folder)[1]
    assert errors == {WANTED: trained.config.training.average_error(WANTED)}
    assert 0 < errors[WANTED] < MAX_ERROR
    study = dataclasses.replace(small_study(), experiment=small_experiment(**SCORED))
    rungs = [rung.images for rung in study.rungs]
    training = study.experiment.training
    most = max(training.average_error(WANTED, images) for images in rungs)
    assert len(rungs) > 1 and study.average_errors == {WANTED: most}


def test_snapshots_change_neither_weights_nor_key(
    trained: TrainingSession, tmp_path: Path
) -> None:
    without = session(CheckpointStore(tmp_path / "checkpoints"), small_experiment(**KEPT))
    assert without.identity.key == trained.identity.key
    ours, theirs = trained.reach(IMAGES).checkpoint(), without.reach(IMAGES).checkpoint()
    for name, tensor in theirs.tensors.items():
        torch.testing.assert_close(ours.tensors[name], tensor, rtol=0, atol=0, equal_nan=True)
    assert not without.folder.snapshots.path.exists()


def test_snapshots_hold_averages_alone_and_stay_with_their_checkpoints(
    trained: TrainingSession,
) -> None:
    folder = trained.folder
    expected = {*snapshot_times(256, BATCH, 4), *snapshot_times(IMAGES, BATCH, 4)}
    assert folder.images() == [256, IMAGES]
    assert set(folder.snapshots.images()) == expected
    path = folder.snapshots.path_of(IMAGES)
    stored = read_checkpoint(path)
    assert all(name.startswith(("ema_0.05.", "ema_0.1.")) for name in stored.tensors)
    assert len({name.partition(".")[2] for name in stored.tensors}) == len(stored.tensors)
    assert path.stat().st_size < folder.path_of(IMAGES).stat().st_size / 2
    assert file_of(path).kind is Kind.RECORDED


def test_average_is_read_from_a_file_beside_its_snapshots(
    trained: TrainingSession, exact: dict[float | None, torch.nn.Module], tmp_path: Path
) -> None:
    path = trained.folder.path_of(IMAGES)
    assert_close_to(load_ema(read_checkpoint(path), CPU, WANTED), exact)
    alone = tmp_path / "copied" / path.name
    alone.parent.mkdir()
    alone.write_bytes(path.read_bytes())
    with pytest.raises(
        CheckpointError, match=r"length 0\.07 at 512 images .*\[0\.05, 0\.1\], or null"
    ):
        load_ema(read_checkpoint(alone), CPU, WANTED)
    load_ema(read_checkpoint(alone), CPU, 0.1)
    with pytest.raises(
        CheckpointError, match=r"within 5% .*\[0\.05, 0\.1\], 0\.0[34]5? to 0.* or null"
    ):
        load_ema(read_checkpoint(path), CPU, 0.28)


def test_resumed_training_has_the_same_averages(trained: TrainingSession, tmp_path: Path) -> None:
    store, config = CheckpointStore(tmp_path / "checkpoints"), small_experiment(**SCORED)
    session(store, config).reach(200)
    resumed = session(store, config)
    resumed.reach(IMAGES)
    assert weights(scored_averages(resumed)[WANTED]).equal(
        weights(scored_averages(trained)[WANTED])
    )


def test_fork_reads_on_in_its_parents_snapshots(tmp_path: Path) -> None:
    store, config = CheckpointStore(tmp_path / "checkpoints"), small_experiment(**SCORED)
    parent = session(store, config)
    parent.reach(256)
    parent.folder.pin("study", [256])
    rate = config.training.learning_rate * 2
    changed = config.with_values({"training.learning_rate": rate})
    child = session(store, changed, (parent, 256))
    assert child.identity.key != parent.identity.key
    child.reach(IMAGES)
    assert min(child.folder.snapshots.images()) > 256
    assert min(child.folder.history(IMAGES)) == IMAGES // 8
    every = changed.with_values({"training.ema_lengths": [0.05, WANTED, 0.1]})
    kept = session(
        store, small_experiment(**KEPT).with_values({"training.ema_lengths": [0.05, WANTED, 0.1]})
    )
    kept.reach(256)
    kept.folder.pin("study", [256])
    truth = session(store, every, (kept, 256)).reach(IMAGES).averages
    assert_close_to(scored_averages(child)[WANTED], dict(truth))


def test_training_without_snapshots_is_trained_once_more(
    exact: dict[float | None, torch.nn.Module], tmp_path: Path
) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    session(store, small_experiment(**KEPT)).reach(IMAGES)
    later = session(store, small_experiment(**SCORED))
    with pytest.warns(UserWarning, match="checkpoint at (256|512) images is passed over"):
        later.reach(IMAGES)
    assert_close_to(scored_averages(later)[WANTED], exact)
    assert len(later.folder.record.segments()) > 2


def test_damaged_snapshot_is_left_out_with_a_warning(
    trained: TrainingSession, exact: dict[float | None, torch.nn.Module]
) -> None:
    path = trained.folder.snapshots.path_of(snapshot_times(IMAGES, BATCH, 4)[2])
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    try:
        with pytest.warns(UserWarning, match="reconstructed without it"):
            found = scored_averages(trained)[WANTED]
        assert_close_to(found, exact)
    finally:
        path.write_bytes(whole)


def test_snapshots_go_with_the_last_checkpoint_that_they_count_for(
    trained: TrainingSession, tmp_path: Path
) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    one = session(store, small_experiment(**SCORED))
    one.reach(IMAGES)
    one.folder.remove(256)
    removed = one.folder.thin_snapshots()
    assert all(size > 0 for size in removed.values())
    assert one.folder.snapshots.images() == snapshot_times(IMAGES, BATCH, 4)
    garbage = collect_garbage(store, "study", [])
    assert one.folder.images() == one.folder.snapshots.images() == []
    assert len(garbage.files) == 1 + len(snapshot_times(IMAGES, BATCH, 4))


def test_snapshots_are_read_from_the_remote_storage(
    exact: dict[float | None, torch.nn.Module], tmp_path: Path
) -> None:
    remote = (tmp_path / "remote").as_uri()

    def on(machine: str) -> TrainingSession:
        root = tmp_path / machine
        root.mkdir()
        store = CheckpointStore(root / "checkpoints", RemoteMirror(remote, root))
        return session(store, small_experiment(**SCORED))

    on("one").reach(IMAGES)
    two = on("two")
    two.reach(IMAGES)
    assert two.folder.record.segments()[-1].end == IMAGES
    assert_close_to(scored_averages(two)[WANTED], exact)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"sampling__ema_length": 0.25},
            r"ema_length is 0\.25; .*\[0\.05, 0\.1\], 0\.0[34]5? to .*",
        ),
        (
            {"training__snapshots_per_doubling": 17},
            "snapshots_per_doubling is 17; allowed: 0 to 16",
        ),
        ({"training__snapshots_per_doubling": -1}, "snapshots_per_doubling is -1"),
        ({"training__ema_lengths": []}, "0 without ema_lengths"),
        (
            {"training__snapshots_per_doubling": 0, "sampling__ema_length": WANTED},
            r"ema_length is 0\.07; allowed: .*lengths, \[0\.05, 0\.1\], or null",
        ),
    ],
)
def test_what_cannot_be_reconstructed_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_experiment(**(SNAPSHOTS | changes))
    small_experiment(**SNAPSHOTS, sampling__ema_length=WANTED)


def test_study_that_forks_from_a_file_without_snapshots_is_refused(
    trained: TrainingSession, tmp_path: Path
) -> None:
    experiment = small_experiment(**SCORED)
    study = dataclasses.replace(small_study(), experiment=experiment)
    checkpoint = trained.reach(IMAGES).checkpoint()
    checkpoint.card["images_seen"] = 480
    write_checkpoint(tmp_path / "other.safetensors", checkpoint)
    with pytest.raises(ValueError, match=r"evaluation.ema_lengths is 0\.07; .* or null"):
        dataclasses.replace(study, fork_from=str(tmp_path / "other.safetensors"))
