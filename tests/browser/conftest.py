from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from tests.made.browsing import BROWSER, DRIVER, REASON, open_browser


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if DRIVER and BROWSER:
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(scope="package")
def browser() -> Iterator[WebDriver]:
    with open_browser() as opened:
        yield opened
