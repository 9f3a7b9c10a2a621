from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from diffrop.config import ExperimentConfig
from diffrop.data import load_dataset
from diffrop.errors import CheckpointError, NonFiniteError, StopRequested
from diffrop.record.json_files import read_json_lines
from diffrop.storage import RemoteMirror
from diffrop.training.identity import identify
from diffrop.training.session import TrainingSession
from diffrop.training.stop import StopNotice, withdraw_stop
from diffrop.training.store import CheckpointStore
from diffrop.training.trainer import Trainer
from tests.made.small import small_experiment

CPU = torch.device("cpu")


def session(
    store: CheckpointStore, config: ExperimentConfig | None = None, workers: int = 1, **more: Any
) -> TrainingSession:
    config = config or small_experiment()
    dataset = load_dataset(config.data)
    identity = identify(config, workers, dataset.train_digest)
    stop = StopNotice(store.root.parent / "study", store.mirror)
    return TrainingSession(config, dataset, CPU, store, identity, stop, **more)


def test_session_is_exactly_where_it_was_asked_to_be(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    one = session(store, gpus_per_worker=0.5)
    assert [one.reach(images).images_seen for images in (32, 64, 96)] == [32, 64, 96]
    two = session(store)
    assert [two.reach(images).images_seen for images in (64, 96, 128)] == [64, 96, 128]
    segments = two.folder.record.segments()
    assert [(s.begin, s.end) for s in segments] == [(0, 32), (32, 64), (64, 96), (96, 128)]
    assert [s.gpus for s in segments] == [0.5, 0.5, 0.5, 0.0]
    assert all(s.seconds > 0 for s in segments)


def test_live_session_takes_over_what_another_trained_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    slow, fast = session(store), session(store)
    slow.reach(32)
    weights = fast.reach(128).checkpoint().tensors
    monkeypatch.setattr(Trainer, "step", lambda trainer: pytest.fail("trained twice"))
    found = slow.reach(128).checkpoint().tensors
    for name, tensor in weights.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_failed_segment_is_accounted_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = session(CheckpointStore(tmp_path / "checkpoints"))
    step = Trainer.step

    def fail(trainer: Trainer) -> dict[str, torch.Tensor]:
        if trainer.images_seen == 96:
            raise NonFiniteError("loss")
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", fail)
    with pytest.raises(NonFiniteError):
        one.reach(128)
    assert [(s.begin, s.end) for s in one.folder.record.segments()] == [(0, 64), (64, 96)]
    with one.folder.try_hold() as held:
        assert held  # a failure lets go


def test_training_of_other_workers_or_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"of 2 worker\(s\) and data \w+, not of 1 and"):
        session(CheckpointStore(tmp_path / "checkpoints"), workers=2)


def test_missing_parent_is_named(tmp_path: Path) -> None:
    store, config = CheckpointStore(tmp_path / "checkpoints"), small_experiment()
    dataset = load_dataset(config.data)
    child = identify(config, 1, dataset.train_digest, "0" * 32 + "-64")
    with pytest.raises(CheckpointError, match=r"0{32}/images_000000000064"):
        TrainingSession(config, dataset, CPU, store, child, StopNotice(None)).reach(128)


def node(rank: int, folder: Path) -> None:
    """One of two workers on machines that share nothing but a remote storage."""
    torch.set_num_threads(1)
    init = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
    runs = folder / f"node{rank}/runs"
    runs.mkdir(parents=True)
    mirror = RemoteMirror((folder / "remote").as_uri(), runs)
    store = CheckpointStore(runs / "checkpoints", mirror)
    if rank == 1:
        (runs / "study").mkdir()
        (runs / "study/stop").touch()  # known to this node alone
    try:
        session(store, workers=2).reach(128)
    except StopRequested as error:
        (folder / f"stopped{rank}").write_text(str(error))
    withdraw_stop(runs / "study")
    dist.barrier()
    trainer = session(store, workers=2).reach(128)
    (folder / f"reached{rank}").write_text(str(trainer.images_seen))
    dist.destroy_process_group()


def test_workers_stop_at_one_step_and_go_on_from_one_checkpoint(tmp_path: Path) -> None:
    mp.spawn(node, (tmp_path,), nprocs=2)
    reported = {(tmp_path / f"stopped{rank}").read_text() for rank in (0, 1)}
    assert len(reported) == 1 and "stopped at 32 images as asked" in reported.pop()
    assert [(tmp_path / f"reached{rank}").read_text() for rank in (0, 1)] == ["128", "128"]
    (folder,) = CheckpointStore(tmp_path / "node0/runs/checkpoints").folders()
    assert [(s.begin, s.end, s.workers) for s in folder.record.segments()] == [
        (0, 32, 2),
        (32, 64, 2),
        (64, 128, 2),
    ]
    rows = [row["images_seen"] for row in read_json_lines(folder.record.curves_path, dict)]
    assert rows == [32, 64, 96, 128]
