"""MLflow's own UI on a study: its trials compare without any set-up."""

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from mlflow import MlflowClient
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from diffrop.tracking.uri import ui_command
from diffrop.tracking.views import saved_views
from tests.made.browsing import look
from tests.made.mlflow_study import (
    add_checkpoint,
    add_lines,
    add_sample,
    add_score,
    make_tracker,
    make_trial,
)
from tests.made.servers import free_port, serving

Found = TypeVar("Found")
FORMS = {0: ("none", 60.0), 1: ("reciprocal", 50.0), 2: ("hinge", 55.0)}
"""Form and final fid/few of each trial."""
SECTION = "[data-testid='experiment-view-compare-runs-section-header']"
"""The heading of a section of charts."""
WAIT_S = 60.0


def write_tracked_study(folder: Path) -> str:
    """Three trials, the last of which was stopped, tracked as a study's are; returns the URI."""
    uri = f"sqlite:///{folder}/mlflow.db"
    searched = ["contrastive.form", "contrastive.tau_0"]
    tracker = make_tracker(uri, folder, experiment_tags=saved_views(["fid/few"], searched))
    for number, (form, few) in FORMS.items():
        params = {"contrastive.form": form, "contrastive.tau_0": 1.5 * number}
        state, name = ("PRUNED" if number == 2 else "COMPLETE"), f"t{number:03d} {form}"
        trial = make_trial(folder, number, state, name=name, params=params, tags={"form": form})
        add_lines(trial)
        add_score(trial, 64, few + 20, final=False)
        add_sample(trial, 64)
        if state == "COMPLETE":
            add_score(trial, 192, few)
            add_sample(trial)
            add_checkpoint(trial, 192)
        tracker.sync(trial)
    assert tracker.close("FINISHED") == []
    return uri


@pytest.fixture(scope="module")
def runs_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the study's runs, from a server started by the command that studies print."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri, port = write_tracked_study(folder), free_port()
    program, *arguments = shlex.split(ui_command(uri))
    assert program == "mlflow"
    command = [sys.executable, "-m", "mlflow", *arguments, "--port", str(port), "--workers", "1"]
    found = MlflowClient(uri).get_experiment_by_name("study")
    assert found is not None
    with serving(command, port, folder / "server.log") as address:
        yield f"{address}/#/experiments/{found.experiment_id}/runs"


def wait_for(browser: WebDriver, look_for: Callable[[WebDriver], Found]) -> Found:
    """Return what is found, once it is there: the UI renders what it shows again and again."""
    waiting = WebDriverWait(browser, WAIT_S, 0.25, ignored_exceptions=[WebDriverException])
    return waiting.until(look_for)


def texts(browser: WebDriver, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())"
    return [str(text) for text in browser.execute_script(script, selector)]


def test_saved_view_lists_the_trials_best_first_with_their_columns(
    browser: WebDriver, runs_page: str
) -> None:
    look(browser, 2400, "light")
    browser.get(f"{runs_page}?viewStateShareKey=trials")
    names = wait_for(browser, lambda b: re.findall(r"t\d{3} \w+", "\n".join(texts(b, ".ag-row"))))
    assert names == ["t001 reciprocal", "t000 none", "t002 hinge"]
    heads = wait_for(
        browser,
        lambda b: (found := texts(b, ".ag-header-cell")) and "fid/few" in found and found,
    )
    for name in ("all", "many", "medium", "few"):
        assert f"fid/{name}" in heads
    assert {"omega", "contrastive.form", "contrastive.tau_0", "state"} <= set(heads)
    cells = "\n".join(texts(browser, ".ag-row"))
    # A stopped trial has no final score: at its rung N is another.
    for shown in ("50", "60", "COMPLETE", "PRUNED", "reciprocal"):
        assert shown in cells
    assert "75" not in cells and "80" not in cells


def test_runs_page_lists_the_trials_without_a_view(browser: WebDriver, runs_page: str) -> None:
    """Whoever opens the experiment knows of no view: each trial is a row, none is folded away."""
    look(browser, 2400, "light")
    browser.get(runs_page)
    browser.execute_script("localStorage.clear(); sessionStorage.clear()")  # a view seen before
    browser.get("about:blank")
    browser.get(runs_page)
    names = wait_for(
        browser, lambda b: re.findall(r"t\d{3} \w+|launch-\d", "\n".join(texts(b, ".ag-row")))
    )
    assert sorted(names) == ["launch-1", "t000 none", "t001 reciprocal", "t002 hinge"]


def test_charts_and_sample_grids_are_there_without_set_up(
    browser: WebDriver, runs_page: str
) -> None:
    look(browser, 2400, "light")
    browser.get(f"{runs_page}?viewStateShareKey=trials&compareRunsMode=CHART")
    page = wait_for(browser, lambda b: "fid/few" in (t := texts(b, "body")[0]) and t)
    for words in ("fid/few", "fid_by_rung", "t001 reciprocal", "t000 none"):
        assert words in page
    sections = wait_for(browser, lambda b: len(found := texts(b, SECTION)) > 2 and found)
    assert [text.split()[0] for text in sections[:2]] == ["fid", "fid_by_rung"]
    box = browser.find_element(By.CSS_SELECTOR, "input[placeholder='Search metric charts']")
    box.send_keys("samples/final")
    wait_for(browser, lambda b: len(_grids(b)) == 2)  # of the two complete trials


def _grids(browser: WebDriver) -> list[str]:
    """Return the sources of the sample grids that are loaded and shown."""
    script = """
    return [...document.querySelectorAll("img")].filter(image => image.naturalWidth >= 80
      && /get-artifact|^blob:/.test(image.src)).map(image => image.src);
    """
    return list(browser.execute_script(script))
