import json

from diffrop.cost.plan import make_plan
from diffrop.record.codec import decode, encode
from diffrop.record.cost import CostRecord, StudyCost
from diffrop.study.config import LaunchConfig
from tests.made.plans import NODES, PROBE
from tests.made.small import small_study


def test_cost_is_stored_under_the_keys_of_format_3() -> None:
    launch = LaunchConfig(confirm=1, price_per_gpu_hour=2.0)
    plan = make_plan(small_study(fork_from="baseline@32"), launch, 10, PROBE, NODES)
    actual = StudyCost(
        rungs=(),
        trials=3,
        gpu_hours=0.0,
        worker_hours=1.5,
        wall_s=60.0,
        samples=9,
        images=8,
        disk_mib=2.0,
    )
    record = CostRecord(began=1.7e9, plan=plan, actual=actual)
    stored = json.loads(json.dumps(encode(record)))
    assert decode(CostRecord, stored) == record
    assert stored.keys() == {"began", "plan", "fact"}
    assert stored["plan"]["prefix_saved_images"] == 64 and stored["plan"]["confirm"]["trials"] == 6
    assert stored["plan"]["rungs"][0]["images"] == 64
    assert decode(CostRecord, {"began": 1.7e9, "plan": None, "fact": None}).actual is None


def test_hours_are_of_graphics_cards_or_of_workers() -> None:
    plan = make_plan(small_study(), LaunchConfig(), 10, PROBE, NODES)
    assert not plan.on_gpu and plan.hours == plan.worker_hours
    on_gpu = LaunchConfig(gpus_per_worker=1.0)
    plan = make_plan(small_study(), on_gpu, 10, PROBE, [{"CPU": 2.0, "GPU": 1.0}])
    assert plan.on_gpu and plan.hours == plan.gpu_hours > 0
