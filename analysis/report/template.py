"""What the report's pages share: how they are written from their templates, and their scripts."""

import base64
import functools
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from diffrop.printable import printable

FOLDER = Path(__file__).parent
SCRIPTS = (FOLDER / "sort.js", FOLDER / "live.js")


@functools.cache
def _environment() -> jinja2.Environment:
    # Autoescape: names, messages and commands come from files that anyone may have edited.
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def rendered(template: str, content: dict[str, Any]) -> str:
    """Return a page of this folder's template, with the scripts and their hash."""
    script = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    page = _environment().get_template(template)
    return page.render(content | {"script": Markup(script), "script_hash": digest})
