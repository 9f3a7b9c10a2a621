import pytest
import torch

from diffrop.training.fault_latch import FaultLatch
from tests.made.trainings import CPU

NAN = float("nan")


def note(latch: FaultLatch, position: int, ddpm: float, total: float, norm: float) -> None:
    latch.set_position(position)
    latch.note(*(torch.tensor(value) for value in (ddpm, total, norm)))


def test_finite_steps_are_no_fault() -> None:
    latch = FaultLatch(CPU)
    note(latch, 0, 1.0, 2.0, 3.0)
    assert latch.fault() is None and latch.faulty == 0


def test_first_fault_is_kept_whatever_comes_after() -> None:
    latch = FaultLatch(CPU)
    note(latch, 32, 1.0, 2.0, float("inf"))
    note(latch, 64, NAN, NAN, NAN)
    note(latch, 96, 1.0, 2.0, 3.0)
    fault = latch.fault()
    assert fault is not None and latch.faulty == 1
    assert (fault.images_seen, fault.ddpm, fault.total) == (32, 1.0, 2.0)
    message = r"images_seen 32 \(step 2\): loss/ddpm 1, total 2, gradient norm inf"
    with pytest.raises(Exception, match=message):
        raise fault.error(batch_size=16)


def test_cleared_latch_takes_the_next_fault_and_its_tensors_stay_in_place() -> None:
    latch = FaultLatch(CPU)
    places = [tensor.data_ptr() for tensor in latch.tensors]
    note(latch, 32, NAN, NAN, 1.0)
    latch.clear()
    assert latch.fault() is None
    note(latch, 64, 1.0, NAN, 1.0)
    fault = latch.fault()
    assert fault is not None and fault.images_seen == 64
    assert [tensor.data_ptr() for tensor in latch.tensors] == places
