"""The commands as a user types them, in processes of their own: study, kill, resume, export."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pandas as pd
import pytest
import yaml
from PIL import Image

from diffrop.record.trial_folder import TrialFolder
from tests.made.faults import fault
from tests.made.small import ROOT

pytestmark = pytest.mark.timeout(600)
SMALL = [
    "--study-name",
    "s",
    "--trials",
    "4",
    "--images",
    "512",
    "--first-rung",
    "256",
    "--num-samples",
    "100",
    "--rung-samples",
    "50",
    "--omegas",
    "0,1",
    "--confirm",
    "0",
    "--set",
    "sampling.num_steps=2",
    "--set",
    "training.checkpoint_every_images=64",
]


def start(script: str, *options: str, log: Path) -> "subprocess.Popen[bytes]":
    """Start a study's command in a session of its own."""
    environment = {**os.environ, "CANARY_PASSWORD": "canary-in-the-environment"}
    command = [sys.executable, str(ROOT / "studies" / script), *options]
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, cwd=log.parent, env=environment)


def wait_for(driver: "subprocess.Popen[bytes]", log: Path, *patterns: str) -> None:
    """Wait until a running study's folder holds a file of every pattern."""
    deadline = time.monotonic() + 350
    while not all(list((log.parent / "runs/s/trials").glob(pattern)) for pattern in patterns):
        assert time.monotonic() < deadline and driver.poll() is None, log.read_text()
        time.sleep(0.1)


def run(script: str, *options: str, log: Path) -> str:
    """Run a study's command to its end; return what it printed."""
    before = log.stat().st_size if log.exists() else 0
    code = start(script, *options, log=log).wait(timeout=300)
    text = log.read_text()[before:]
    assert code == 0, text
    return text


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A folder with a study that Ctrl-C stopped in its midst, and the command's exit code."""
    log = tmp_path_factory.mktemp("interrupted") / "log"
    driver = start("run_tau_sweep.py", *SMALL, log=log)
    wait_for(driver, log, "t000/training/*.safe*")
    driver.send_signal(signal.SIGINT)
    return log.parent, driver.wait(timeout=120)


def test_interrupted_study_says_so_and_keeps_its_trials_unfinished(
    interrupted: tuple[Path, int],
) -> None:
    folder, code = interrupted
    assert code == 130
    assert "--resume" in (folder / "log").read_text()
    storage = f"sqlite:///{folder / 'runs/s/study.db'}"
    first = optuna.load_study(study_name="s", storage=storage).trials[0]
    assert not first.state.is_finished()
    assert (folder / "runs/s/trials.csv").exists()


@pytest.fixture(scope="module")
def killed(interrupted: tuple[Path, int]) -> Path:
    """The same study, carried on, and its driver killed."""
    log = interrupted[0] / "log"
    driver = start("run_tau_sweep.py", *SMALL, "--resume", log=log)
    wait_for(driver, log, "*/scores/*", "t001/training/*.safe*")
    driver.kill()
    driver.wait()
    return log.parent


@pytest.fixture(scope="module")
def resumed(killed: Path) -> tuple[Path, str, dict[str, float]]:
    """The same study after its resumption, what that printed, and the scores of before."""
    before = {
        str(path): path.stat().st_mtime for path in killed.glob("runs/s/trials/*/scores/*.json")
    }
    text = run("run_tau_sweep.py", *SMALL, "--resume", log=killed / "log")
    return killed, text, before


def test_killed_study_ends_with_exactly_its_trials(
    resumed: tuple[Path, str, dict[str, float]],
) -> None:
    folder, _, before = resumed
    storage = f"sqlite:///{folder / 'runs/s/study.db'}"
    trials = optuna.load_study(study_name="s", storage=storage).trials
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert all(trial.state.is_finished() for trial in trials)
    assert {str(path): Path(path).stat().st_mtime for path in before} == before
    frame = pd.read_csv(folder / "runs/s/trials.csv")
    assert set(frame["state"]) <= {"COMPLETE", "PRUNED"}
    assert frame.loc[0, "state"] == "COMPLETE"
    assert frame.loc[frame["state"] == "COMPLETE", "fid/few"].notna().all()


def test_study_leaves_everything_it_promises(resumed: tuple[Path, str, dict[str, float]]) -> None:
    folder, text, _ = resumed
    study = folder / "runs/s"
    for name in ("report.html", "best.yaml", "trials.csv", "anchors.json"):
        assert (study / name).stat().st_size > 100
    assert len(list((study / "figures").glob("*.png"))) >= 3
    assert "baseline" in text and "mlflow ui" in text
    (header,) = [line for line in text.splitlines() if {"trial", "form"} <= set(line.split())]
    assert len(header) <= 80


def test_mlflow_has_every_trial_once(resumed: tuple[Path, str, dict[str, float]]) -> None:
    database = resumed[0] / "runs/mlflow.db"
    rows = sqlite3.connect(database).execute(
        "select value from tags where key = 'mlflow.diffrop.trial' order by value"
    )
    assert [value for (value,) in rows] == ["0", "1", "2", "3"]


@fault(27, "a password in the environment of a study that is stopped, killed and resumed")
def test_secrets_of_the_environment_are_nowhere(
    resumed: tuple[Path, str, dict[str, float]],
) -> None:
    folder, text, _ = resumed
    found = subprocess.run(
        ["grep", "-rl", "canary-in-the-environment", str(folder)], capture_output=True, text=True
    )
    assert found.stdout == ""
    assert "canary" not in text


@fault(9, "the command once more")
def test_finished_study_is_refused_without_resume_and_a_no_op_with_it(
    resumed: tuple[Path, str, dict[str, float]],
) -> None:
    folder, _, _ = resumed
    log = folder / "refused"
    assert start("run_tau_sweep.py", *SMALL, log=log).wait(timeout=120) == 2
    assert "carry it on with --resume, or name another with --study-name" in log.read_text()
    scores = {path: path.stat().st_mtime for path in folder.glob("runs/s/trials/*/scores/*")}
    assert "baseline" in run("run_tau_sweep.py", *SMALL, "--resume", log=folder / "again")
    assert {path: path.stat().st_mtime for path in scores} == scores


def test_export_trains_and_its_checkpoint_gives_images(
    resumed: tuple[Path, str, dict[str, float]],
) -> None:
    folder, _, _ = resumed
    best = str(folder / "runs/s/best.yaml")
    options = ["--config", best, "--name", "f", "--images", "640", "--num-samples", "60"]
    text = run("train_final.py", *options, log=folder / "final")
    (card,) = TrialFolder(folder / "runs/f").scores()
    assert card.images_seen == 640
    omegas = yaml.safe_load(Path(best).read_text())["omegas"]  # of which it is chosen anew
    assert sorted({point.omega for point in card.curve}) == sorted(omegas)
    assert f"fid/all {card.value:.2f} at N = 60" in text
    checkpoint = text.split("checkpoint ")[1].split()[0]
    text = run(
        "sample.py",
        "--checkpoint",
        checkpoint,
        "--labels",
        "7,2",
        "--num",
        "3",
        "--out",
        "images",
        log=folder / "sample",
    )
    assert f"Drawn with omega {card.omega:g} and {card.sampler}, as the checkpoint" in text
    images = sorted((folder / "images").glob("*/*.png"))
    names = ["2/000001", "2/000003", "2/000005", "7/000000", "7/000002", "7/000004"]
    assert [f"{path.parent.name}/{path.stem}" for path in images] == names
    assert Image.open(images[0]).size == (8, 8)
    assert (folder / "images/grid.png").exists()
