import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from diffrop.console.dry_run import (
    average_lines,
    comparison_table,
    duration_text,
    head_lines,
    plan_lines,
    plan_table,
)
from diffrop.cost.plan import make_plan
from diffrop.data import load_dataset
from diffrop.record.codec import decode, encode
from diffrop.record.cost import PlannedCost
from diffrop.study.config import LaunchConfig
from tests.made.plans import NODES, PROBE
from tests.made.small import small_experiment, small_study


def test_plan_fits_80_columns_and_survives_the_disk() -> None:
    study = small_study(fork_from="baseline@32", num_trials=1000)
    large = dataclasses.replace(PROBE, train_images_per_s=0.001, feature_images_per_s=None)
    launch = LaunchConfig(confirm=3, price_per_gpu_hour=2.5, keep_trials=5)
    plan = make_plan(study, launch, 10, large, NODES)
    console = Console(width=80, record=True, file=io.StringIO())
    for line in head_lines(study, load_dataset(study.experiment.data), Path("runs/small")):
        console.print(line)
    console.print(plan_table(plan))
    for line in plan_lines(plan, study, launch):
        console.print(line)
    stored = json.loads(json.dumps(encode(plan)))
    console.print(comparison_table(plan, plan))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "not measured" in text and "fork saves" in text and "worker-hours" in text
    assert decode(PlannedCost, stored) == plan
    assert {
        "rungs",
        "gpu_hours",
        "worker_hours",
        "samples",
        "images",
        "memory_mib",
        "disk_mib",
        "cost",
        "price_per_gpu_hour",
        "confirm",
    } <= stored.keys()


def test_plan_names_what_trials_fork_from_and_the_confirmation_once() -> None:
    study = small_study(fork_from="baseline@32")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(plan_table(make_plan(study, LaunchConfig(confirm=1), 10, PROBE, NODES)))
    rows = [line.partition("  ")[0] for line in console.export_text().splitlines()[1:]]
    assert rows == ["to 32", "64", "128", "confirmation", "in all"]


def test_error_of_each_reconstructed_average_is_named() -> None:
    assert average_lines(small_study()) == []
    experiment = small_experiment(
        training__num_images=512,
        training__batch_size=8,
        training__ema_lengths=[0.05, 0.1],
        training__snapshots_per_doubling=4,
        evaluation__ema_lengths=[0.05, 0.07, 0.12],
    )
    study = dataclasses.replace(small_study(), experiment=experiment)
    (line,) = average_lines(study)
    named = ", ".join(f"{length:g} ({e:.1%})" for length, e in study.average_errors.items())
    assert list(study.average_errors) == [0.07, 0.12] and line.endswith(f": {named}.")
    dataset = load_dataset(experiment.data)
    assert line in head_lines(study, dataset, Path("runs/small"))


@pytest.mark.parametrize("width", [20, 40, 60])
def test_narrow_plan_drops_columns_and_never_digits(width: int) -> None:
    plan = make_plan(small_study(), LaunchConfig(confirm=1), 10, PROBE, NODES)
    whole, narrow = (
        {str(column.header): [str(cell) for cell in column.cells] for column in table.columns}
        for table in (plan_table(plan), plan_table(plan, width))
    )
    assert narrow.items() <= whole.items() and "images" in narrow
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(plan_table(plan, width))
    assert max(len(line.rstrip()) for line in console.export_text().splitlines()) <= width


@pytest.mark.parametrize(("width", "headings"), [(40, ["planned", "actual"]), (32, ["actual"])])
def test_narrow_comparison_keeps_what_the_study_took(width: int, headings: list[str]) -> None:
    plan = make_plan(small_study(), LaunchConfig(confirm=1), 10, PROBE, NODES)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(comparison_table(plan, plan, width))
    head, *rows = [line.rstrip() for line in console.export_text().splitlines()]
    assert head.split() == headings and max(map(len, rows)) <= width
    (images,) = [row for row in rows if row.startswith("images trained")]
    assert images.split()[2:] == [f"{plan.images:,}"] * len(headings)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.25, "0.25 s"), (80, "80 s"), (600, "10 min"), (7200, "2.0 h")],
)
def test_length_of_time_has_a_fitting_unit(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
