"""The page of a running study in a browser: it reloads itself, and its reader notices nothing."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.figures.registry import TITLES, study_figure
from diffrop.analysis.figures.style import words_figure
from diffrop.analysis.report import live
from diffrop.analysis.report import page as report
from tests.made.browsing import look, take_picture
from tests.made.full_study import write_full_study

STANDING = "17 of 18 trials done, 1 running; 4 min left"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    return load_study(write_full_study(tmp_path_factory.mktemp("runs") / "full"))


@pytest.fixture
def write(
    study: StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """Write the page of a study that stands somewhere, or has ended; return its address."""
    monkeypatch.setattr(live, "RELOAD_S", 2)
    monkeypatch.setattr(report, "NUM_SHOWN", 1)
    names = list(TITLES)[:3]

    def written(standing: str) -> str:
        drawn = [(study_figure(name), words_figure("It is drawn.", "protocol")) for name in names]
        return report.write_page(study, drawn, tmp_path, standing).as_uri()

    return written


PREPARE = """
const sort = () => [...document.querySelectorAll("th button")].find(
  (button) => button.textContent === "FID few").click();
sort();
sort();
for (const fold of ["more-figures", "protocol"]) {
  document.getElementById(fold).querySelector("summary").click();
}
document.querySelector("#trials .scroll").scrollLeft = 120;
document.querySelector("#figures").scrollIntoView();
scrollBy(0, -30);
"""
"""What a reader does: sorts twice by a head, unfolds, and scrolls."""


def wait(until: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            if until():
                return
        except Exception:  # the page is loading
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end
        time.sleep(0.1)


def state(browser: WebDriver) -> dict[str, object]:
    """What a reader has made of the page, and where on it they are."""
    found: dict[str, object] = browser.execute_script(
        """
        const place = (selector) => document.querySelector(selector).getBoundingClientRect().top;
        return {
          open: [...document.querySelectorAll("details[open]")].map((one) => one.id),
          sorted: document.querySelector("th[aria-sort]").textContent,
          order: document.querySelector("th[aria-sort]").getAttribute("aria-sort"),
          pane: document.querySelector("#trials .scroll").scrollLeft,
          place: Math.round(place("#figures")),
        };
        """
    )
    return found


def loads(browser: WebDriver) -> bool:
    """Whether the page was loaded again since it was marked."""
    return bool(browser.execute_script("return window.marked === undefined"))


def test_live_page_reloads_in_place_until_the_study_has_ended(
    browser: WebDriver, write: Callable[[str], str], tmp_path: Path
) -> None:
    look(browser, 1280, "light")
    browser.get(write(STANDING))
    browser.execute_script(PREPARE)
    before = state(browser)
    assert before["open"] == ["more-figures", "protocol"] and before["order"] == "descending"
    assert before["place"] == 30 and before["pane"] == 120
    for _ in range(2):
        browser.execute_script("window.marked = true")
        wait(lambda: loads(browser))
        wait(lambda: state(browser) == before)  # not while the next load has just begun
    write("")
    wait(lambda: not browser.find_elements(By.ID, "live"))
    after = state(browser)
    assert {**after, "place": 0} == {**before, "place": 0}
    assert abs(int(str(after["place"])) - 30) <= 1  # though the live line above is gone
    browser.execute_script("window.marked = true")
    time.sleep(4)
    assert not loads(browser)


def test_reload_waits_for_a_reader_who_marks_words(
    browser: WebDriver, write: Callable[[str], str]
) -> None:
    look(browser, 1280, "light")
    browser.get(write(STANDING))
    browser.execute_script(
        "getSelection().selectAllChildren(document.querySelector('.headline')); window.marked = 1"
    )
    time.sleep(4)
    assert not loads(browser)
    browser.execute_script("getSelection().removeAllRanges()")
    wait(lambda: loads(browser))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_live_page_fits_its_window(
    browser: WebDriver, write: Callable[[str], str], tmp_path: Path, width: int, theme: str
) -> None:
    look(browser, width, theme)
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(write(STANDING))
    right = "return document.querySelector('#live').getBoundingClientRect().right"
    assert 0 < browser.execute_script(right) <= width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_script("window.marked = true")
    wait(lambda: loads(browser))
    assert browser.get_log("browser") == []  # the policy lets the script run
    assert take_picture(browser, tmp_path / "page.png").stat().st_size > 10_000
