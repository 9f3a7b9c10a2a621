"""Too little memory, injected by the limit that the operating system sets a process."""

from pathlib import Path

import pytest
import torch

from diffrop.errors import OutOfMemoryError
from diffrop.memory import out_of_memory_as
from tests.made.faults import fault
from tests.made.processes import run_bare

# A batch of 262,144 images: one activation takes 512 MiB, of which an eighth is left.
STARVED = """
import resource, sys
import torch
from pathlib import Path
import psutil
from diffrop.execution.run_task import run_task
from diffrop.study.config import LaunchConfig
from tests.made.small import small_experiment, small_inputs, small_task

def run(name, report, **changes):
    task = small_task(Path(sys.argv[1]) / "small" / name, small_experiment(**changes))
    run_task(task, inputs, LaunchConfig(), report, sys.argv[1], "run", [])

torch.set_num_threads(1)
inputs = small_inputs()
run("t000", lambda report: None)
limit = psutil.Process().memory_info().vms + 2**26
unlimited = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (limit, unlimited[1]))
run("t001", print, training__batch_size=2**18, training__num_images=2**18)
resource.setrlimit(resource.RLIMIT_AS, unlimited)
"""


@fault(12, "a limit of the operating system to the memory of a training on the CPU")
def test_training_that_outgrows_its_memory_fails_naming_the_batch_size(tmp_path: Path) -> None:
    said = run_bare(STARVED, str(tmp_path))
    assert "Failed" in said and "out of memory at batch_size 262144 over 1 worker" in said


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
)
def test_every_kind_of_too_little_memory_is_named(error: Exception) -> None:
    with pytest.raises(OutOfMemoryError, match="lower it"), out_of_memory_as("lower it"):
        raise error


def test_other_faults_pass_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="a fault"), out_of_memory_as("lower it"):
        raise RuntimeError("a fault")
