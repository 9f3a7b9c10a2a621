"""Signals to a study at each of its stages: it says so, saves, writes its results, and ends."""

import os
import signal
import time
from pathlib import Path

import optuna
import pytest

from diffrop.signals import AGAIN_AFTER_S
from tests.made.faults import fault
from tests.made.study_process import TINY, StudyProcess, running

pytestmark = pytest.mark.timeout(600)
optuna.logging.set_verbosity(optuna.logging.ERROR)

LONG = ("--trials", "2", "--images", "6400000", "--first-rung", "3200000", "--num-samples", "40")
LONG = (*LONG, "--rung-samples", "20")
"""Two trials whose first rung is far away."""
SHORT = ("--trials", "2", "--scheduler", "none", "--images", "640", "--num-samples", "40")
"""Two trials that are done in seconds."""
LONG_SCORE = (*SHORT[:-1], "4000", "--set", "sampling.num_steps=1000")
"""Two trials that are trained in seconds and scored for many minutes."""


def unfinished(study: StudyProcess) -> int:
    """How many of the trials go on in the next launch."""
    stored = optuna.load_study(study_name="s", storage=f"sqlite:///{study.study.database}")
    return sum(not trial.state.is_finished() for trial in stored.trials)


@fault(35, "SIGINT while it prepares")
def test_interrupt_before_the_study_begins_leaves_nothing(tmp_path: Path) -> None:
    with running(StudyProcess(tmp_path, *TINY, *LONG)) as study:
        study.wait_for(lambda: "preparing" in study.said)
        study.strike(signal.SIGINT)
        code = study.end()
    assert code == 130 and "Traceback" not in study.said
    last = study.said.splitlines()[-1]
    assert last == "Interrupted by SIGINT. To go on, give the same command again."
    assert not study.study.path.exists()


@pytest.mark.long
@fault(35, "SIGTERM while Ray starts")
def test_interrupt_while_ray_starts_leaves_nothing(tmp_path: Path) -> None:
    with running(StudyProcess(tmp_path, *TINY, *LONG)) as study:
        study.wait_for(lambda: any(p.name() == "gcs_server" for p in study.everyone()))
        study.strike(signal.SIGTERM)
        code = study.end()
    assert code == 130 and "Traceback" not in study.said
    assert "SIGTERM asks to stop." in study.said
    last = study.said.splitlines()[-1]
    assert last == "Interrupted by SIGTERM. To go on, give the same command again."
    assert not study.study.path.exists()


def logged(study: StudyProcess, where: str = "trials/t000") -> int:
    """Lines of a training's curves."""
    path = study.study.path / where / "training/metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def checkpoints(study: StudyProcess, where: str = "trials/t000") -> list[str]:
    """The names of a training's checkpoints."""
    return sorted(path.name for path in (study.study.path / where).glob("training/*.safetensors"))


def training(study: StudyProcess) -> bool:
    return logged(study) >= 4


def scoring(study: StudyProcess) -> bool:
    return checkpoints(study) == ["images_000000000640.safetensors"]


def training_what_forks_start_from(study: StudyProcess) -> bool:
    return logged(study, "prefix/seed-0") >= 4


def confirming(study: StudyProcess) -> bool:
    return bool(list(study.study.path.glob("confirm/*/training/metrics.jsonl")))


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
    with running(StudyProcess(tmp_path, *TINY, *options)) as study:
        study.wait_for(lambda: reached(study))
        study.strike(number)
        struck = time.monotonic()
        code = study.end()
        seconds = time.monotonic() - struck
    print(f"{stage}: {number.name} to exit {code} in {seconds:.1f} s")
    said = study.said
    assert code == 130 and "Traceback" not in said
    assert f"{number.name} asks to stop: {waits_for} at the next step" in said
    assert "Interrupted." in said and "--study-name s --resume" in said
    assert (study.study.path / "trials.csv").exists()
    assert f"{number.name} asks to stop" in (study.study.path / "study.log").read_text()
    assert checkpoints(study, "prefix/seed-0" if stage == "prefix" else "trials/t000")
    assert not list(study.study.path.glob("stop*"))
    if stage in ("training", "scoring"):
        assert unfinished(study) > 0 and not list(study.study.path.glob("trials/*/scores/*.json"))


@pytest.mark.long
@fault(35, "two SIGINT in the midst of a training")
def test_second_signal_ends_at_once_and_in_order(tmp_path: Path) -> None:
    with running(StudyProcess(tmp_path, *TINY, *LONG)) as study:
        study.wait_for(lambda: training(study))
        study.strike(signal.SIGINT)
        time.sleep(AGAIN_AFTER_S + 0.1)
        study.strike(signal.SIGINT)
        code = study.end()
    assert code == 130 and "Traceback" not in study.said
    assert "Another signal ends at once." in study.said and "--resume" in study.said


@pytest.mark.long
@fault(35, "SIGINT while it draws")
def test_interrupt_while_it_draws_costs_the_figures_alone(tmp_path: Path) -> None:
    with running(StudyProcess(tmp_path, *TINY, *SHORT)) as study:
        study.wait_for(lambda: "less the baseline" in study.said or "best of" in study.said)
        study.strike(signal.SIGINT)
        code = study.end()
    assert code == 130 and "Traceback" not in study.said
    assert "To draw them: diffrop figures all" in study.said
    assert unfinished(study) == 0 and (study.study.path / "best.yaml").exists()


@fault(35, "a reader that leaves, such as `head`")
def test_study_outlives_whoever_reads_its_output(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with running(StudyProcess(tmp_path, *TINY, *SHORT), stdout=writer) as study:
        os.close(writer)
        assert os.read(reader, 10)
        os.close(reader)
        code = study.end()
    assert (code, study.said) == (0, "")
    assert unfinished(study) == 0 and (study.study.path / "report.html").exists()
    kept = (study.study.path / "study.log").read_text()
    assert "COMPLETE at 640" in kept and "t001" in kept
