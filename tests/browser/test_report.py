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
from tests.made.large_study import write_large_study
from tests.made.written_report import write_report

PAGE = {"light": (255, 255, 255), "dark": (20, 23, 26)}
"""Colour of the page in each theme."""


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    studies = {"full": write_full_study, "large": write_large_study}
    folders = {name: tmp_path_factory.mktemp(name) / name for name in studies}
    return {name: write_report(studies[name](folders[name])).as_uri() for name in studies}


def opened(browser: WebDriver, address: str) -> WebDriver:
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what earlier pages left
    look(browser, 1280, "light")
    browser.get(address)
    return browser


@pytest.fixture
def page(browser: WebDriver, addresses: dict[str, str]) -> WebDriver:
    return opened(browser, addresses["full"])


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


def in_sight(page: WebDriver, table: str, head: str) -> bool:
    """Whether a column of a table lies between the edges of the box that the table scrolls in."""
    heads = page.find_elements(By.CSS_SELECTOR, f"{table} thead th")
    [found] = [one for one in heads if one.text.rstrip(" ↑↓").replace("\n", " ") == head]
    box = found.find_element(By.XPATH, "ancestor::div[contains(@class, 'scroll')]").rect
    end = found.rect["x"] + found.rect["width"]
    return bool(box["x"] <= found.rect["x"] and end <= box["x"] + box["width"] + 1)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("study", ["full", "large"])
def test_columns_that_matter_are_in_sight(
    browser: WebDriver, addresses: dict[str, str], study: str, width: int
) -> None:
    page = opened(browser, addresses[study])
    look(page, width, "light")
    for head in ("trial", "form", "FID all", "less baseline [95 %]"):
        assert in_sight(page, "table.trials", head), head
    for head in ("leader", "mean", "95 % interval"):
        assert in_sight(page, "#confirmation table", head), head
    page.execute_script("document.querySelector('#metrics').open = true")
    for head in ("baseline", "t001", "difference"):
        assert in_sight(page, "table.metrics", head), head
    cell = page.find_element(By.CSS_SELECTOR, "table.trials tr.best .ends")
    lines = {1280: "inline", 390: "block"}
    assert cell.value_of_css_property("display") == lines[width]


def test_first_column_stays_while_a_table_scrolls_sideways(page: WebDriver) -> None:
    look(page, 390, "light")
    place = (
        "const table = document.querySelector('table.trials'), box = table.parentElement;"
        "box.scrollLeft = arguments[0];"
        "return table.tBodies[0].rows[0].cells[0].getBoundingClientRect().left"
    )
    assert page.execute_script(place, 0) == page.execute_script(place, 200)
    cell = page.find_element(By.CSS_SELECTOR, "table.trials tr.best td")
    assert cell.value_of_css_property("background-color") != "rgba(0, 0, 0, 0)"


@pytest.mark.parametrize("theme", PAGE)
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("study", ["full", "large"])
def test_pictures_at_both_widths_in_both_themes(
    browser: WebDriver,
    addresses: dict[str, str],
    tmp_path: Path,
    study: str,
    width: int,
    theme: str,
) -> None:
    page = opened(browser, addresses[study])
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
        assert screens <= {1280: 4.0, 390: 6}[width], (
            "the page is long before anything is unfolded"
        )
        assert picture.convert("RGB").getpixel((3, 3)) == PAGE[theme]
        colours = picture.convert("RGB").crop((0, 0, shown[1], HEIGHT)).getcolors(1 << 20)
    ink = {"light": min, "dark": max}[theme](sum(colour) for _, colour in colours or [])
    assert abs(ink - sum(PAGE[theme])) > 500  # the text stands out from the page
