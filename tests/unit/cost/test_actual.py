from dataclasses import replace
from pathlib import Path

import pytest

from diffrop.cost.actual import actual_cost, comparison
from diffrop.cost.plan import make_plan
from diffrop.study.config import LaunchConfig
from tests.made.costly_study import write_costly_study
from tests.made.plans import NODES, PROBE
from tests.made.small import small_study


def test_actual_cost_is_what_the_folders_say(tmp_path: Path) -> None:
    launch = LaunchConfig(workers_per_trial=2, price_per_gpu_hour=10.0)
    folder = write_costly_study(tmp_path)
    actual = actual_cost(folder, small_study(), launch, wall_s=60.0, since=0.0)
    first, last = actual.rungs
    assert (first.trials, first.training_s, first.trained) == (1, 36.0, 64)
    assert (last.trials, last.training_s, last.trained) == (3, 432.0, 128)
    assert actual.confirm is not None and actual.confirm.training_s == 108.0
    assert (actual.trials, actual.samples, actual.images) == (3, 50, 320)
    hours = 2 * (36 + 432 + 108 + 3.6 + 4 * 7.2) / 3600
    assert actual.worker_hours == pytest.approx(hours)
    assert actual.cost == pytest.approx(10 * hours)


def test_plan_and_actual_cost_are_compared_row_by_row(tmp_path: Path) -> None:
    launch = LaunchConfig(workers_per_trial=2)
    study = small_study(scheduler="none")
    actual = actual_cost(write_costly_study(tmp_path), study, launch, wall_s=60.0, since=0.0)
    plan = make_plan(study, launch, 10, PROBE, NODES)
    rows = comparison(plan, actual)
    assert ("trials at 128 images", "3", "4") in rows
    assert ("retrainings that confirm", "0", "1") in rows
    assert not any(name == "cost" for name, *_ in rows)
    priced = comparison(replace(plan, cost=1.5), actual)
    assert ("cost", "1.50", "-") in priced
