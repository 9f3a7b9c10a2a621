"""Work that all workers of a trial give up together."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from diffrop import distributed
from diffrop.errors import StopRequested
from diffrop.training.joint_stop import NEVER, JointStop
from diffrop.training.stop import StopNotice


class Noticed(StopNotice):
    """A request that is known from the n-th look on."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def requested(self) -> bool:
        """Return whether to stop."""
        self.left -= 1
        return self.left < 0


def test_piece_ends_at_the_look_that_finds_the_request() -> None:
    stop, done = JointStop(Noticed(3)), []
    with pytest.raises(StopRequested), stop.piece() as look:
        for number in range(10):
            look()
            done.append(number)
    assert done == [0, 1, 2]


def test_piece_runs_to_its_end_without_a_request_and_other_errors_pass() -> None:
    with NEVER.piece() as look:
        look()
    with pytest.raises(KeyError), NEVER.piece():
        raise KeyError


def share(rank: int, folder: Path) -> None:
    """Work on a share of ten parts; only worker 1, whose share is short, is asked to stop."""
    init = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
    assert distributed.gathered(f"node{rank}") == ["node0", "node1"]
    stop = JointStop(Noticed(2) if rank == 1 else StopNotice(None))
    done = 0
    for piece in range(3):
        try:
            with stop.piece() as look:
                for _ in range(10 if rank == 0 else 1):
                    look()
                    done += 1
        except StopRequested:
            (folder / f"left{rank}").write_text(f"{piece} {done}")
            break
        distributed.barrier()  # it would hang if one worker had left
    dist.destroy_process_group()


def test_workers_leave_the_same_piece_whoever_was_asked(tmp_path: Path) -> None:
    mp.spawn(share, (tmp_path,), nprocs=2)
    assert (tmp_path / "left0").read_text() == "2 30"
    assert (tmp_path / "left1").read_text() == "2 2"


def test_notice_of_any_worker_s_node_is_seen_by_all(tmp_path: Path) -> None:
    (tmp_path / "stop-second").touch()
    assert StopNotice(tmp_path, nodes=["first", "second"]).requested()
    assert not StopNotice(tmp_path, nodes=["first", "third"]).requested()
    assert not StopNotice(tmp_path).requested()


def test_lone_process_gathers_its_own() -> None:
    assert distributed.gathered(3) == [3]
    assert torch.equal(distributed.all_reduce_sum(torch.ones(1)), torch.ones(1))
