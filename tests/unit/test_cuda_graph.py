import pytest
import torch
from torch import Tensor

from diffrop.cuda_graph import CudaCapture

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_replay_does_the_work_again_on_the_memory_that_was_recorded() -> None:
    capture = CudaCapture(torch.device("cuda"))
    x = torch.ones(3, device="cuda")

    def work() -> Tensor:
        return x * 2

    assert capture.warm_up(work).tolist() == [2, 2, 2]
    graph, result = capture.record(work)
    x.fill_(5)
    graph.replay()
    assert result.tolist() == [10, 10, 10]
