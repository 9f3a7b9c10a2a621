"""report.html as its readers have it: in a browser, wide and narrow, light and dark, offline."""

import json
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement

from tests.made.browsing import HEIGHT, look, take_picture
from tests.made.full_study import write_full_study
from tests.made.written_report import write_report

PAGE = {"light": (255, 255, 255), "dark": (20, 23, 26)}
"""Colour of the page in each theme."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(write_full_study(tmp_path_factory.mktemp("runs") / "full")).as_uri()


@pytest.fixture
def page(browser: WebDriver, address: str) -> WebDriver:
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what earlier pages left
    look(browser, 1280, "light")
    browser.get(address)
    return browser


def column(page: WebDriver, name: str) -> tuple[WebElement, WebElement, list[str]]:
    """A head of the trials table, its button, and the cells below it, from the top."""
    heads = page.find_elements(By.CSS_SELECTOR, "table.trials thead th")
    [place] = [i for i, head in enumerate(heads) if head.text.rstrip(" ↑↓") == name]
    rows = page.find_elements(By.CSS_SELECTOR, "table.trials tbody tr")
    cells = page.execute_script(
        "return arguments[0].map(row => row.cells[arguments[1]]?.dataset.value ?? '')", rows, place
    )
    return heads[place], heads[place].find_element(By.TAG_NAME, "button"), cells


def numbers(cells: list[str]) -> list[float]:
    filled = [float(cell) for cell in cells if cell]
    assert cells[: len(filled)] == [cell for cell in cells if cell], "empty cells are not last"
    return filled


def test_answer_is_what_a_reader_sees_first(page: WebDriver) -> None:
    for selector, words in (
        (".sure", "Confirmed over 3 fresh seeds"),
        (".headline", "Best: reciprocal form, tau_0 = 3.2, decay temperature = 0.3"),
        (".headline", "2.33 lower than the baseline's"),
    ):
        element = page.find_element(By.CSS_SELECTOR, selector)
        assert words in element.text and element.is_displayed()
        assert element.rect["y"] + element.rect["height"] < HEIGHT  # without scrolling


def test_page_asks_the_network_for_nothing(page: WebDriver) -> None:
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert any(url.endswith("report.html") for url in asked)
    assert all(url.startswith(("file:", "data:")) for url in asked)
    # Neither an error of the script nor one of the content security policy.
    assert page.get_log("browser") == []


def test_click_on_a_head_sorts_and_a_second_one_turns_it_round(page: WebDriver) -> None:
    head, _, ranks = column(page, "rank")
    assert head.get_attribute("aria-sort") == "ascending" and numbers(ranks)[:2] == [1, 2]
    column(page, "FID few")[1].click()
    head, button, cells = column(page, "FID few")
    assert head.get_attribute("aria-sort") == "ascending"
    assert numbers(cells) == sorted(numbers(cells)) and "" in cells  # stopped trials stay last
    button.click()
    assert column(page, "FID few")[0].get_attribute("aria-sort") == "descending"
    assert numbers(column(page, "FID few")[2]) == sorted(numbers(cells), reverse=True)
    assert column(page, "rank")[0].get_attribute("aria-sort") is None


def test_keyboard_sorts_too(page: WebDriver) -> None:
    button = column(page, "tau_0")[1]
    page.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    assert numbers(column(page, "tau_0")[2])[:3] == [0.2, 0.4, 0.9]
    column(page, "form")[1].send_keys(Keys.SPACE)
    forms = column(page, "form")[2]
    assert forms == sorted(forms)


@pytest.mark.parametrize("theme", PAGE)
@pytest.mark.parametrize("width", [1280, 390])
def test_pictures_at_both_widths_in_both_themes(
    page: WebDriver, tmp_path: Path, width: int, theme: str
) -> None:
    look(page, width, theme)
    shown = page.execute_script(
        "const root = document.documentElement;"
        "return [root.scrollWidth, root.clientWidth, getComputedStyle(document.body).color]"
    )
    assert shown[0] <= shown[1] <= width, "the page scrolls sideways"
    wide = page.find_element(By.CSS_SELECTOR, "table.trials")
    box = wide.find_element(By.XPATH, "..")
    assert box.rect["width"] <= width and wide.rect["width"] > 390  # it scrolls in its own box
    with Image.open(take_picture(page, tmp_path / f"report-{width}-{theme}.png")) as picture:
        assert picture.width in (shown[1], width)
        screens = picture.height / HEIGHT
        assert screens < {1280: 4.5, 390: 7}[width], "the page is long before anything is unfolded"
        assert picture.convert("RGB").getpixel((3, 3)) == PAGE[theme]
        colours = picture.convert("RGB").crop((0, 0, shown[1], HEIGHT)).getcolors(1 << 20)
    ink = {"light": min, "dark": max}[theme](sum(colour) for _, colour in colours or [])
    assert abs(ink - sum(PAGE[theme])) > 500  # the text stands out from the page
