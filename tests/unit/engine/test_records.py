"""What a study writes down beside its trials."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from diffrop.cost.actual import comparison
from diffrop.engine import records as books
from diffrop.engine.records import close_plan, open_plan, write_fidelity
from diffrop.record.json_files import read_record
from diffrop.record.study_files import FIDELITY
from diffrop.study.config import LaunchConfig
from tests.made.full_study import PLAN
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

    monkeypatch.setattr(books, "measure_speeds", measured)
    return found


def test_plan_is_of_the_trials_that_the_newest_launch_asks_for(
    tmp_path: Path, num_probes: list[int]
) -> None:
    inputs, study = small_inputs(), optuna.create_study()
    three, six = (small_study(scheduler="none", num_trials=number) for number in (3, 6))
    open_plan(tmp_path, study, three, NEW, inputs, NODES)
    close_plan(tmp_path, study, three, NEW, 10.0)
    first = read_record(tmp_path, PLAN)
    open_plan(tmp_path, study, three, RESUME, inputs, NODES)
    assert read_record(tmp_path, PLAN) == first  # the same is asked for: nothing changes
    open_plan(tmp_path, study, six, RESUME, inputs, NODES)
    second = read_record(tmp_path, PLAN)
    assert len(num_probes) == 1
    assert (second["began"], second["fact"]) == (first["began"], first["fact"])
    assert second["plan"]["trials"] == 6
    assert second["plan"]["images"] == 2 * first["plan"]["images"]
    close_plan(tmp_path, study, six, RESUME, 5.0)
    book = read_record(tmp_path, PLAN)
    assert book["fact"]["wall_s"] == 15.0  # plan and fact are both of all launches
    assert study.user_attrs["plan"] == book
    assert comparison(book["plan"], book["fact"])[0] == ("trials at 128 images", "6", "0")


def test_confirmation_that_an_earlier_launch_planned_stays_planned(
    tmp_path: Path, num_probes: list[int]
) -> None:
    inputs, confirming = small_inputs(), LaunchConfig(resume=True, confirm=1)
    study = optuna.create_study()
    open_plan(tmp_path, study, small_study(), NEW, inputs, NODES)
    assert read_record(tmp_path, PLAN)["plan"]["confirm"] is None
    open_plan(tmp_path, study, small_study(), confirming, inputs, NODES)
    planned = read_record(tmp_path, PLAN)["plan"]["confirm"]
    assert planned["trials"] == 6
    open_plan(tmp_path, study, small_study(num_trials=5), RESUME, inputs, NODES)
    assert read_record(tmp_path, PLAN)["plan"]["confirm"] == planned


def test_books_are_in_the_database_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(study_name="small", storage=url)
    write_fidelity(tmp_path, study, small_study())
    there = optuna.load_study(study_name="small", storage=url)
    assert there.user_attrs["fidelity"] == read_record(tmp_path, FIDELITY) != {}
