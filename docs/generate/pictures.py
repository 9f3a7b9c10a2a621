"""Take the pictures of README.md and of the tutorial from a study's report.

    make pictures STUDY=runs/tau

docs/pictures/ then holds the study's trials.csv, and PNG files that carry its SHA-256. A test
compares that, and the README's last screen with the file. Debian's chromium is needed.
"""

import base64
import hashlib
import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from selenium.webdriver.remote.webdriver import WebDriver

from tests.made.browsing import look, open_browser

FOLDER = Path(__file__).resolve().parents[1] / "pictures"
SOURCE = FOLDER / "trials.csv"
HASH_KEY = "trials.csv SHA-256"
"""The text of a PNG file that says which trials.csv it was made with."""
WIDTH, SCALE, COLOURS = 1000, 1.75, 128
MARGIN_PX = 12
PARTS = {
    "report.png": ("header", "#answer .facts"),
    "figures.png": (".figures figure:first-child", ".figures figure:nth-child(2)"),
}
"""Two elements of the page; a picture shows both and what lies between them."""

BOX = """
const box = query => document.querySelector(query).getBoundingClientRect();
const [first, last] = [box(arguments[0]), box(arguments[1])];
const [left, right] = [Math.min(first.left, last.left), Math.max(first.right, last.right)];
const bottom = Math.max(first.bottom, last.bottom);
return [left, first.top + scrollY, right - left, bottom - first.top];
"""


def source_hash(path: Path = SOURCE) -> str:
    """Return the SHA-256 of the trials that the pictures show, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def take_part(browser: WebDriver, first: str, last: str) -> Image.Image:
    """Return a picture of the page from one element to another, by their CSS selectors."""
    left, top, width, height = browser.execute_script(BOX, first, last)
    clip = {
        "x": left - MARGIN_PX,
        "y": top - MARGIN_PX,
        "width": width + 2 * MARGIN_PX,
        "height": height + 2 * MARGIN_PX,
        "scale": SCALE,
    }
    shot = browser.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
    )
    return Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")


def main(study: Path) -> None:
    """Write the pictures of a finished study."""
    FOLDER.mkdir(exist_ok=True)
    shutil.copyfile(study / "trials.csv", SOURCE)
    text = PngInfo()
    text.add_text(HASH_KEY, source_hash())
    with open_browser(WIDTH) as browser:
        browser.get((study / "report.html").resolve().as_uri())
        look(browser, WIDTH, "light")
        for name, (first, last) in PARTS.items():
            picture = take_part(browser, first, last).quantize(COLOURS)
            picture.save(FOLDER / name, optimize=True, pnginfo=text)
            print(FOLDER / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
