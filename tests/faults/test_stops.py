"""Signals to a study at each of its stages: it says so, saves, writes its results, and ends."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest

from diffrop.signals import AGAIN_AFTER_S
from tests.made.driven import Driven
from tests.made.faults import fault

pytestmark = pytest.mark.timeout(600)
optuna.logging.set_verbosity(optuna.logging.ERROR)

LONG = ("--trials", "2", "--images", "6400000", "--first-rung", "3200000", "--num-samples", "40")
LONG = (*LONG, "--rung-samples", "20")
"""Two trials whose first rung is far away."""
SHORT = ("--trials", "2", "--scheduler", "none", "--images", "640", "--num-samples", "40")
"""Two trials that are done in seconds."""
LONG_SCORE = (*SHORT[:-1], "4000", "--set", "sampling.num_steps=1000")
"""Two trials that are trained in seconds and scored for many minutes."""


@contextmanager
def driven(folder: Path, *options: str, stdout: int | None = None) -> Iterator[Driven]:
    driver = Driven(folder, *options, stdout=stdout)
    try:
        yield driver
    finally:
        driver.kill()


def unfinished(driver: Driven) -> int:
    """How many of the trials go on in the next launch."""
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{driver.study}/study.db")
    return sum(not trial.state.is_finished() for trial in study.trials)


@fault(35, "SIGINT while it prepares")
def test_interrupt_before_the_study_begins_leaves_nothing(tmp_path: Path) -> None:
    with driven(tmp_path, *LONG) as driver:
        driver.wait_for(lambda: "preparing" in driver.said)
        driver.strike(signal.SIGINT)
        code, _ = driver.end()
    assert code == 130 and "Traceback" not in driver.said
    last = driver.said.splitlines()[-1]
    assert last == "Interrupted by SIGINT. To go on, give the same command again."
    assert not driver.study.exists()


@pytest.mark.long
@fault(35, "SIGTERM while Ray starts")
def test_interrupt_while_ray_starts_leaves_nothing(tmp_path: Path) -> None:
    with driven(tmp_path, *LONG) as driver:
        driver.wait_for(lambda: any(p.name() == "gcs_server" for p in driver.everyone()))
        driver.strike(signal.SIGTERM)
        code, _ = driver.end()
    assert code == 130 and "Traceback" not in driver.said
    assert "SIGTERM asks to stop." in driver.said
    last = driver.said.splitlines()[-1]
    assert last == "Interrupted by SIGTERM. To go on, give the same command again."
    assert not driver.study.exists()


def training(driver: Driven) -> bool:
    return driver.logged() >= 4


def scoring(driver: Driven) -> bool:
    return driver.checkpoints() == ["images_000000000640.safetensors"]


def training_what_forks_start_from(driver: Driven) -> bool:
    return driver.logged("prefix/seed-0") >= 4


def confirming(driver: Driven) -> bool:
    return bool(list(driver.study.glob("confirm/*/training/metrics.jsonl")))


STAGES = {
    "training": (LONG, training, signal.SIGTERM, "the running trials save"),
    "scoring": (LONG_SCORE, scoring, signal.SIGHUP, "the running trials save"),
    "prefix": (
        (*LONG, "--fork-from", "baseline@1600000"),
        training_what_forks_start_from,
        signal.SIGINT,
        "what trials fork from is saved",
    ),
    "confirmation": (
        (*SHORT, "--images", "12800", "--confirm", "1", "--seeds", "2"),
        confirming,
        signal.SIGTERM,
        "the retrainings save",
    ),
}


@pytest.mark.parametrize(
    "stage",
    [
        "training",
        *(pytest.param(name, marks=pytest.mark.long) for name in STAGES if name != "training"),
    ],
)
@fault(35, "SIGTERM, SIGHUP and SIGINT to its process group in each stage")
def test_signal_to_everybody_saves_what_runs_and_writes_the_results(
    tmp_path: Path, stage: str
) -> None:
    options, reached, number, waits_for = STAGES[stage]
    with driven(tmp_path, *options) as driver:
        driver.wait_for(lambda: reached(driver))
        driver.strike(number)
        code, seconds = driver.end()
    print(f"{stage}: {number.name} to exit {code} in {seconds:.1f} s")
    said = driver.said
    assert code == 130 and "Traceback" not in said
    assert f"{number.name} asks to stop: {waits_for} at the next step" in said
    assert "Interrupted: carry on with the same command, --study-name s and --resume." in said
    assert (driver.study / "trials.csv").exists()
    assert f"{number.name} asks to stop" in (driver.study / "study.log").read_text()
    assert driver.checkpoints("prefix/seed-0" if stage == "prefix" else "trials/t000")
    assert not list(driver.study.glob("stop*"))
    if stage in ("training", "scoring"):
        assert unfinished(driver) > 0 and not list(driver.study.glob("trials/*/scores/*.json"))


@pytest.mark.long
@fault(35, "two SIGINT in the midst of a training")
def test_second_signal_ends_at_once_and_in_order(tmp_path: Path) -> None:
    with driven(tmp_path, *LONG) as driver:
        driver.wait_for(lambda: training(driver))
        driver.strike(signal.SIGINT)
        time.sleep(AGAIN_AFTER_S + 0.1)
        driver.strike(signal.SIGINT)
        code, _ = driver.end()
    assert code == 130 and "Traceback" not in driver.said
    assert "Another signal ends at once." in driver.said and "--resume" in driver.said


@pytest.mark.long
@fault(35, "SIGINT while it draws")
def test_interrupt_while_it_draws_costs_the_figures_alone(tmp_path: Path) -> None:
    with driven(tmp_path, *SHORT) as driver:
        driver.wait_for(lambda: "less the baseline" in driver.said or "best of" in driver.said)
        driver.strike(signal.SIGINT)
        code, _ = driver.end()
    assert code == 130 and "Traceback" not in driver.said
    assert "To draw them: python -m analysis all" in driver.said
    assert unfinished(driver) == 0 and (driver.study / "best.yaml").exists()


@fault(35, "a reader that leaves, such as `head`")
def test_study_outlives_whoever_reads_its_output(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with driven(tmp_path, *SHORT, stdout=writer) as driver:
        os.close(writer)
        assert os.read(reader, 10)
        os.close(reader)
        code, _ = driver.end()
    assert (code, driver.said) == (0, "")
    assert unfinished(driver) == 0 and (driver.study / "report.html").exists()
    kept = (driver.study / "study.log").read_text()
    assert "COMPLETE at 640" in kept and "t001" in kept
