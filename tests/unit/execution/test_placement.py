import pytest

from diffrop.errors import ResourceError
from diffrop.execution.placement import check_placement, placement_sentence, trials_at_once
from diffrop.study.config import LaunchConfig
from tests.made.faults import fault


@fault(19, "workers beyond each node")
def test_workers_must_fit_on_nodes_and_not_in_all() -> None:
    nodes = [{"CPU": 6.0, "GPU": 1.0}, {"CPU": 6.0, "GPU": 1.0}]
    wide = LaunchConfig(cpus_per_worker=8)
    assert trials_at_once(nodes, wide) == 0
    assert "can NEVER be placed" in placement_sentence(nodes, wide)
    with pytest.raises(ResourceError, match=r"NEVER.*6 CPUs, 1 GPUs; .*; allowed: fewer"):
        check_placement(nodes, wide)
    assert trials_at_once(nodes, LaunchConfig(cpus_per_worker=4)) == 2
    assert trials_at_once(nodes, LaunchConfig(cpus_per_worker=4, workers_per_trial=2)) == 1
    assert trials_at_once(nodes, LaunchConfig(gpus_per_worker=2.0)) == 0
    assert trials_at_once(nodes, LaunchConfig(gpus_per_worker=0.4)) == 4
    sentence = placement_sentence(nodes, LaunchConfig(gpus_per_worker=1.0))
    assert sentence.endswith("2 node(s) have room for 2 at a time.")
    assert trials_at_once([], LaunchConfig()) == 0
