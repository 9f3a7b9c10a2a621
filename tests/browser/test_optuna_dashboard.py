"""optuna-dashboard on a study's own database, as docs/studies.md says."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import requests
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from PIL import Image
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from diffrop.record.artifacts import keep_grids
from diffrop.record.study_folder import StudyFolder
from tests.made.analysed_study import write_grid
from tests.made.browsing import look, take_picture
from tests.made.servers import free_port, serving

pytest.importorskip("optuna_dashboard", reason="the extra `dashboard` is not installed")

NAME = "tau-sweep"
SPACE = {
    "contrastive.form": CategoricalDistribution(["reciprocal", "hinge"]),
    "contrastive.tau_0": FloatDistribution(0.1, 100.0, log=True),
}
PARAMS = {"contrastive.form": "reciprocal", "contrastive.tau_0": 3.2}


def write_optuna_study(folder: StudyFolder) -> None:
    """A baseline, two complete trials and a stopped one, stored as the search stores them."""
    study = optuna.create_study(storage=f"sqlite:///{folder.database}", study_name=NAME)
    rungs = {"10240": {"values": [60.0], "num_samples": 300}}
    study.add_trial(
        create_trial(
            value=44.0,
            intermediate_values={10240: 60.0, 20480: 44.0},
            user_attrs={"baseline": True, "rungs": rungs},
        )
    )
    trial = study.ask()  # Optuna adds no artifact to a trial that has ended
    write_grid(folder.trial(1).grid_path(20480), 1)
    keep_grids(trial, folder)
    study.tell(trial, 40.0)
    for state, value in ((TrialState.COMPLETE, 41.5), (TrialState.PRUNED, 71.0)):
        study.add_trial(
            create_trial(
                state=state,
                value=value,
                params=PARAMS,
                distributions=SPACE,
                intermediate_values={10240: value + 10},
                user_attrs={"rungs": rungs},
            )
        )


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = StudyFolder(tmp_path_factory.mktemp("optuna"))
    write_optuna_study(folder)
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("optuna-dashboard")),
        f"sqlite:///{folder.database}",
        "--artifact-dir",
        str(folder.artifacts),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with serving(command, port, folder.path / "server.log") as found:
        yield found


def test_dashboard_serves_trials_parameters_and_rungs(address: str) -> None:
    studies = requests.get(f"{address}/api/studies", timeout=30).json()["study_summaries"]
    assert [study["study_name"] for study in studies] == [NAME]
    detail = requests.get(f"{address}/api/studies/{studies[0]['study_id']}", timeout=30).json()
    trials = detail["trials"]
    assert [trial["state"] for trial in trials] == ["Complete", "Complete", "Complete", "Pruned"]
    assert trials[2]["values"] == [41.5]
    params = {param["name"]: param["param_external_value"] for param in trials[2]["params"]}
    assert params == {"contrastive.form": "reciprocal", "contrastive.tau_0": "3.2"}
    rungs = [(rung["step"], rung["value"]) for rung in trials[0]["intermediate_values"]]
    assert rungs == [(10240, 60.0), (20480, 44.0)]
    assert {attr["key"] for attr in trials[0]["user_attrs"]} == {"baseline", "rungs"}


def test_dashboard_serves_the_sample_grids_of_a_trial(address: str) -> None:
    [study] = requests.get(f"{address}/api/studies", timeout=30).json()["study_summaries"]
    detail = requests.get(f"{address}/api/studies/{study['study_id']}", timeout=30).json()
    [grid] = detail["trials"][1]["artifacts"]
    assert (grid["filename"], grid["mimetype"]) == ("images_000000020480.png", "image/png")
    place = f"{study['study_id']}/{detail['trials'][1]['trial_id']}/{grid['artifact_id']}"
    found = requests.get(f"{address}/artifacts/{place}", timeout=30).content
    with Image.open(io.BytesIO(found)) as image:
        assert image.size == (80, 100)


def test_dashboard_shows_a_sample_grid(browser: WebDriver, address: str, tmp_path: Path) -> None:
    look(browser, 1280, "light")
    [study] = requests.get(f"{address}/api/studies", timeout=30).json()["study_summaries"]
    browser.get(f"{address}/dashboard/studies/{study['study_id']}/trials?numbers=1")
    script = """
        const found = [...document.images].find((image) => image.src.includes("/artifacts/"));
        return found && found.complete && found.naturalWidth;
    """
    assert WebDriverWait(browser, 60, 0.25).until(lambda shown: shown.execute_script(script)) == 80
    take_picture(browser, tmp_path / "grid.png")


def test_dashboard_opens_in_a_browser(browser: WebDriver, address: str) -> None:
    look(browser, 1280, "light")
    [study] = requests.get(f"{address}/api/studies", timeout=30).json()["study_summaries"]
    browser.get(f"{address}/dashboard/studies/{study['study_id']}/trials")

    def shown(browser: WebDriver) -> bool:
        text = str(browser.execute_script("return document.body.innerText"))
        return all(word in text for word in (NAME, "Trial 0", "Trial 3", "44", "20480"))

    assert WebDriverWait(browser, 60, 0.25).until(shown)
