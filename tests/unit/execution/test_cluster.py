import pytest

from diffrop.errors import ResourceError
from diffrop.execution.cluster import check_resources, concurrency, resources_per_trial
from diffrop.study.config import LaunchConfig
from tests.made.faults import fault

NODES = [{"CPU": 6.0, "GPU": 1.0}, {"CPU": 6.0, "GPU": 1.0}]


def test_as_many_trials_run_as_fit_but_no_more_than_half_of_the_study() -> None:
    assert concurrency(LaunchConfig(cpus_per_worker=4), 9, NODES) == 2
    assert concurrency(LaunchConfig(), 9, NODES) == 4  # half of the study
    assert concurrency(LaunchConfig(max_concurrent=3), 9, NODES) == 3
    assert concurrency(LaunchConfig(cpus_per_worker=9), 9, NODES) == 1  # it waits for room


@fault(19, "workers beyond the machine's CPUs and GPUs")
def test_trial_that_does_not_fit_is_refused_with_both_numbers() -> None:
    launch = LaunchConfig(workers_per_trial=2, cpus_per_worker=4, gpus_per_worker=1.0)
    assert resources_per_trial(launch) == (8, 2.0)
    check_resources(launch, cpus=8, gpus=2)
    with pytest.raises(ResourceError, match=r"2 worker\(s\) needs 8 CPUs, and there are 6"):
        check_resources(launch, cpus=6, gpus=2)
    with pytest.raises(ResourceError, match="needs 2 GPUs, and there are 1"):
        check_resources(launch, cpus=8, gpus=1)
