"""optuna-dashboard on a study's own database, as docs/studies.md says."""

import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import requests
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from tests.made.browsing import look
from tests.made.servers import free_port, serving

pytest.importorskip("optuna_dashboard", reason="the extra `dashboard` is not installed")

NAME = "tau-sweep"
SPACE = {
    "contrastive.form": CategoricalDistribution(["reciprocal", "hinge"]),
    "contrastive.tau_0": FloatDistribution(0.1, 100.0, log=True),
}
PARAMS = {"contrastive.form": "reciprocal", "contrastive.tau_0": 3.2}


def write_optuna_study(path: Path) -> None:
    """A baseline, a complete trial and a stopped one, stored as the search stores them."""
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name=NAME)
    rungs = {"10240": {"values": [60.0], "num_samples": 300}}
    study.add_trial(
        create_trial(
            value=44.0,
            intermediate_values={10240: 60.0, 20480: 44.0},
            user_attrs={"baseline": True, "rungs": rungs},
        )
    )
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
    folder = tmp_path_factory.mktemp("optuna")
    write_optuna_study(folder / "study.db")
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("optuna-dashboard")),
        f"sqlite:///{folder}/study.db",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with serving(command, port, folder / "server.log") as found:
        yield found


def test_dashboard_serves_trials_parameters_and_rungs(address: str) -> None:
    studies = requests.get(f"{address}/api/studies", timeout=30).json()["study_summaries"]
    assert [study["study_name"] for study in studies] == [NAME]
    detail = requests.get(f"{address}/api/studies/{studies[0]['study_id']}", timeout=30).json()
    trials = detail["trials"]
    assert [trial["state"] for trial in trials] == ["Complete", "Complete", "Pruned"]
    assert trials[1]["values"] == [41.5]
    params = {param["name"]: param["param_external_value"] for param in trials[1]["params"]}
    assert params == {"contrastive.form": "reciprocal", "contrastive.tau_0": "3.2"}
    rungs = [(rung["step"], rung["value"]) for rung in trials[0]["intermediate_values"]]
    assert rungs == [(10240, 60.0), (20480, 44.0)]
    assert {attr["key"] for attr in trials[0]["user_attrs"]} == {"baseline", "rungs"}


def test_dashboard_opens_in_a_browser(browser: WebDriver, address: str) -> None:
    look(browser, 1280, "light")
    [study] = requests.get(f"{address}/api/studies", timeout=30).json()["study_summaries"]
    browser.get(f"{address}/dashboard/studies/{study['study_id']}/trials")

    def shown(browser: WebDriver) -> bool:
        text = str(browser.execute_script("return document.body.innerText"))
        return all(word in text for word in (NAME, "Trial 0", "Trial 2", "44", "20480"))

    assert WebDriverWait(browser, 60, 0.25).until(shown)
