"""What mkdocs adds to docs/: the generated pages, and the files of the repository that pages name.

Pages are written for the repository, where a link such as ../diffrop/config.py leads to the file.
In the site it leads to a page that shows the file: nothing is fetched from anywhere.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "build" / "reference"
"""Where `reference.py` wrote the pages that are made from the code."""
SHOWN = "source"
"""Folder of the site for files of the repository outside docs/."""
WORKER = "worker.js"
"""In docs/, takes the place of a script that the theme would load from another host."""
THEIR_WORKER = "https://unpkg.com/iframe-worker/shim"
FETCHED = re.compile(
    r"<(?:script|img|iframe|source)[^>]*\bsrc=.?https?:[^>]*>"
    r"|<link[^>]*rel=.?(?:stylesheet|preconnect|icon)[^>]*href=.?https?:[^>]*>"
)
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
LANGUAGES = {".py": "python", ".sbatch": "bash", ".sh": "bash", ".yaml": "yaml", ".md": "text"}


def links(text: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the links of a page that lead to a file here: as written, and the path."""
    for _, target, _, _ in LINK.findall(text):
        if "://" not in target and not target.startswith("mailto:"):
            path = Path(os.path.normpath(folder / target))
            if path.exists() and path.is_relative_to(ROOT):
                yield target, path


def shown_as(path: Path) -> str | None:
    """Return the page of the site that shows a file outside docs/; None for one in docs/."""
    if path.is_relative_to(ROOT / "docs") or path.is_relative_to(GENERATED):
        return None
    name = path.relative_to(ROOT).as_posix()
    return f"{SHOWN}/{name}" if path.suffix == ".md" else f"{SHOWN}/{name}.md"


def page_of(path: Path) -> str:
    """Return a page that shows a file, or lists the files of a folder."""
    name = path.relative_to(ROOT).as_posix()
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {name}\n\n"
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.is_file())
        return head + "".join(f"- [{each.name}]({path.name}/{each.name})\n" for each in found)
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        return f"---\nsearch:\n  exclude: true\n---\n\n{text}"
    return f"{head}````{LANGUAGES.get(path.suffix, 'text')}\n{text}````\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and one for each file that a page links to, and so on."""
    for path in sorted(GENERATED.glob("*.md")):
        files.append(File.generated(config, f"reference/{path.name}", abs_src_path=str(path)))
    waiting = [
        path
        for file in files.documentation_pages()
        for _, path in links(file.content_string, ROOT / "docs" / Path(file.src_uri).parent)
    ]
    while waiting:
        path = waiting.pop()
        uri = shown_as(path)
        if uri is None or files.get_file_from_path(uri) is not None:
            continue
        text = page_of(path)
        files.append(File.generated(config, uri, content=text))
        folder = path.parent
        if path.is_dir() or path.suffix == ".md":
            waiting += [target for _, target in links(text, folder)]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links that lead out of docs/ into links to the pages that show those files."""
    uri = page.file.src_uri
    inner = uri.removeprefix(f"{SHOWN}/")
    folder = (ROOT if inner != uri else ROOT / "docs") / Path(inner).parent
    pages = dict(links(markdown, folder))

    def site_link(match: re.Match[str]) -> str:
        before, target, anchor, after = match.groups()
        if target not in pages:
            return match.group()
        path = pages[target]
        docs = path.relative_to(ROOT / "docs").as_posix() if shown_as(path) is None else ""
        to = os.path.relpath(shown_as(path) or docs, Path(uri).parent)
        return f"{before}{to}{anchor or ''}{after}"

    return LINK.sub(site_link, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Load from the site itself what the theme would load from another host."""
    return output.replace(THEIR_WORKER, get_relative_url(WORKER, page.url))


def on_post_template(output_content: str, template_name: str, config: MkDocsConfig) -> str:
    """Do the same in pages that have no Markdown, such as 404.html."""
    return output_content.replace(THEIR_WORKER, WORKER)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that would load something from another host.

    Raises:
        PluginError: a page does.
    """
    for path in Path(config.site_dir).rglob("*.html"):
        if found := FETCHED.search(path.read_text("utf-8")):
            raise PluginError(f"{path} loads from another host: {found.group()}")
