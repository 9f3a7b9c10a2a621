"""What a study writes down beside its trials."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from diffrop.cost.actual import comparison
from diffrop.engine import records
from diffrop.engine.records import record_actual_cost, record_agreement, record_plan
from diffrop.record.codec import encode
from diffrop.record.cost import CostRecord, PlannedCost
from diffrop.record.json_files import read_record
from diffrop.record.rung_agreement import AgreementRecord
from diffrop.record.study_folder import StudyFolder
from diffrop.study.config import LaunchConfig
from tests.made.plans import NODES, PROBE
from tests.made.small import small_inputs, small_study

NEW, RESUME = LaunchConfig(), LaunchConfig(resume=True)


@pytest.fixture
def num_probes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each measurement."""
    found: list[int] = []

    def measured(*args: Any, **options: Any) -> object:
        found.append(1)
        return PROBE

    monkeypatch.setattr(records, "measure_speeds", measured)
    return found


def read_cost(folder: StudyFolder) -> CostRecord:
    record = read_record(folder.cost, CostRecord)
    assert record is not None
    return record


def planned(folder: StudyFolder) -> PlannedCost:
    plan = read_cost(folder).plan
    assert plan is not None
    return plan


def test_plan_is_of_the_trials_that_the_newest_launch_asks_for(
    tmp_path: Path, num_probes: list[int]
) -> None:
    folder, inputs, study = StudyFolder(tmp_path), small_inputs(), optuna.create_study()
    three, six = (small_study(scheduler="none", num_trials=number) for number in (3, 6))
    record_plan(folder, study, three, NEW, inputs, NODES)
    record_actual_cost(folder, study, three, NEW, 10.0)
    first, first_plan = read_cost(folder), planned(folder)
    record_plan(folder, study, three, RESUME, inputs, NODES)
    assert read_cost(folder) == first  # the same is asked for: nothing changes
    record_plan(folder, study, six, RESUME, inputs, NODES)
    second = read_cost(folder)
    assert len(num_probes) == 1
    assert (second.began, second.actual) == (first.began, first.actual)
    assert planned(folder).trials == 6
    assert planned(folder).images == 2 * first_plan.images
    record_actual_cost(folder, study, six, RESUME, 5.0)
    last, actual = read_cost(folder), read_cost(folder).actual
    assert actual is not None and actual.wall_s == 15.0  # plan and cost are of all launches
    assert study.user_attrs["plan"] == encode(last)
    assert comparison(planned(folder), actual)[0] == ("trials at 128 images", "6", "0")


def test_confirmation_that_an_earlier_launch_planned_stays_planned(
    tmp_path: Path, num_probes: list[int]
) -> None:
    folder, inputs = StudyFolder(tmp_path), small_inputs()
    confirming = LaunchConfig(resume=True, confirm=1)
    study = optuna.create_study()
    record_plan(folder, study, small_study(), NEW, inputs, NODES)
    assert planned(folder).confirm is None
    record_plan(folder, study, small_study(), confirming, inputs, NODES)
    confirm = planned(folder).confirm
    assert confirm is not None and confirm.trials == 6
    record_plan(folder, study, small_study(num_trials=5), RESUME, inputs, NODES)
    assert planned(folder).confirm == confirm


def test_records_are_in_the_database_too(tmp_path: Path) -> None:
    folder, url = StudyFolder(tmp_path), f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(study_name="small", storage=url)
    record_agreement(folder, study, small_study())
    there = optuna.load_study(study_name="small", storage=url)
    record = read_record(folder.rung_agreement, AgreementRecord)
    assert record is not None and there.user_attrs["fidelity"] == encode(record)
