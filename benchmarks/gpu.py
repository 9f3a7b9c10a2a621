"""The GPU that benchmarks run on, or what stands in for it."""

import functools
import gc
import os

import torch

from benchmarks.aims import STAND_IN
from diffrop.cuda_graph import Capture, CudaCapture

DEVICE_VARIABLE = "BENCHMARK_DEVICE"
"""Of the environment, which reaches the processes that a benchmark starts; its value: STAND_IN."""
POLL_INTERVAL_MS = 200


class Gpu:
    """The GPU that a benchmark runs on, and what is asked of it beside its tensors."""

    device = torch.device("cuda")

    @property
    def name(self) -> str:
        """Its name, as results are filed under."""
        return torch.cuda.get_device_name()

    def synchronise(self) -> None:
        """Wait until its work is done."""
        torch.cuda.synchronize()

    def forget_peak(self) -> float:
        """Give back what is cached, count the peak anew, and return the MiB still reserved."""
        gc.collect()  # a trainer refers to itself
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_reserved() / 2**20

    def peak_mib(self) -> float:
        """Return the most MiB reserved at a time.

        Reserved, not allocated: what a CUDA graph computes lies in memory that counts as no
        tensor's.
        """
        return torch.cuda.max_memory_reserved() / 2**20

    def memory_mib(self) -> float:
        """Return the MiB that it has."""
        return torch.cuda.mem_get_info()[1] / 2**20

    def keep_to(self, share: float) -> None:
        """Limit this process to a share of its memory, as a trial of a study is."""
        torch.cuda.set_per_process_memory_fraction(share)

    def capture(self) -> Capture:
        """Return what records work on it."""
        return CudaCapture(self.device)

    def watch(self) -> list[str]:
        """Return the command that prints its utilisation in percent, a line each interval."""
        return [
            "nvidia-smi",
            f"--id=GPU-{torch.cuda.get_device_properties(0).uuid}",
            f"--loop-ms={POLL_INTERVAL_MS}",
            "--query-gpu=utilization.gpu",
            "--format=csv,noheader,nounits",
        ]


@functools.cache
def gpu() -> Gpu | None:
    """Return the GPU or, where the environment asks for it, its stand-in; None without either."""
    if os.environ.get(DEVICE_VARIABLE) == STAND_IN:
        from benchmarks.stand_in import StandIn  # here: it takes this module's class

        return StandIn()
    return Gpu() if torch.cuda.is_available() else None


def device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    chip = gpu()
    return torch.device("cpu") if chip is None else chip.device


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    chip = gpu()
    if chip is not None:
        chip.synchronise()
