"""The page of a running study, and how it becomes that of one that has ended."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from diffrop.analysis.data.load import load_study
from diffrop.analysis.figures import style
from diffrop.analysis.figures.style import save_figure, words_figure
from diffrop.analysis.report import render
from diffrop.analysis.report.live import LIVE, RELOAD_S, end_live_page, show_live
from diffrop.analysis.report.page import write_page
from tests.made.html_page import Page

COLUMNS = ("trial", "fid/all")
STANDING = "5 of 9 trials done, 2 running; 2 min left"


@pytest.fixture
def own_dir(study_dir: Path, tmp_path: Path) -> Path:
    """A copy of the runs folder."""
    shutil.copytree(study_dir.parent, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / study_dir.name


def live_element(html: str) -> dict[str, str | None] | None:
    return next((attrs for _, attrs in Page(html).tags if attrs.get("id") == "live"), None)


def test_live_page_says_how_far_the_study_is_and_an_ended_one_does_not(study_dir: Path) -> None:
    study = load_study(study_dir)
    html = write_page(study, [], study_dir, STANDING).read_text()
    live = live_element(html)
    assert live is not None and live["data-reload-s"] == str(RELOAD_S)
    words = Page(html).words
    assert f"Live {STANDING}." in words and re.search(r"Drawn at \d{4}-\d\d-\d\d \d\d:\d\d", words)
    assert "So far: " in words and "Next, " not in words
    ended = write_page(study, [], study_dir).read_text()
    assert live_element(ended) is None and "So far" not in Page(ended).words


def test_page_is_there_before_anything_is_drawn(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    show_live(page, "a <b>", "0 of 9 trials done", COLUMNS, [])
    assert "Live 0 of 9 trials done." in Page(page.read_text()).words
    show_live(page, "a <b>", STANDING, COLUMNS, [("t000 baseline", "41.2"), ("t001 <i>", "-")])
    found = Page(page.read_text())
    assert f"Live {STANDING}." in found.words and "0 of 9" not in found.words
    assert "trialfid/all t000 baseline41.2 t001 <i>-" in found.words
    live = live_element(page.read_text())
    assert live is not None and live["data-reload-s"] == str(RELOAD_S)
    assert [tag for tag, _ in found.tags if tag in ("b", "i")] == ["b"]  # of "Live"
    end_live_page(page)
    assert live_element(page.read_text()) == {"id": "live"}
    assert "The study no longer runs" in Page(page.read_text()).words
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("before", ["live", "cut short", "ended"])
def test_page_that_was_drawn_is_told_how_far_the_study_is_and_keeps_the_rest(
    study_dir: Path, tmp_path: Path, before: str
) -> None:
    page = write_page(load_study(study_dir), [], tmp_path, "" if before == "ended" else "nowhere")
    if before == "cut short":
        end_live_page(page)
    html = page.read_text()
    drawn = live_element(html)
    show_live(page, "study", STANDING, COLUMNS, [("t000 baseline", "41.2")])
    now = page.read_text()
    live = live_element(now)
    assert live is not None and live["data-reload-s"] == str(RELOAD_S)
    if before == "live":
        assert drawn is not None and live["data-drawn"] == drawn["data-drawn"]
    found = Page(now).words
    assert f"Live {STANDING}." in found and "no longer runs" not in found
    assert LIVE.sub("", now) == LIVE.sub("", html)
    first = page.stat().st_mtime_ns
    show_live(page, "study", STANDING, COLUMNS, [])
    assert page.stat().st_mtime_ns == first  # nothing is written where nothing has changed


def test_page_of_a_study_that_ended_before_it_was_drawn_again_no_longer_reloads(
    study_dir: Path, tmp_path: Path
) -> None:
    page = write_page(load_study(study_dir), [], tmp_path, STANDING)
    before = page.read_text()
    end_live_page(page)
    live = live_element(page.read_text())
    assert live == {"id": "live"}  # its script asks for data-reload-s
    assert "The study no longer runs" in Page(page.read_text()).words
    assert len(page.read_text().splitlines()) >= len(before.splitlines()) - 1
    ended = page.read_text()
    end_live_page(page)
    end_live_page(tmp_path / "missing.html")
    assert page.read_text() == ended and len(list(tmp_path.iterdir())) == 1


def test_last_drawing_that_is_cut_short_leaves_no_live_page(
    own_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    draw = "diffrop.analysis.figures.drawing.draw_figures"
    monkeypatch.setattr(draw, lambda study, of_networks: iter(()))
    render.render_study(own_dir, STANDING)
    assert "data-reload-s=" in (own_dir / "report.html").read_text()
    monkeypatch.setattr(draw, stop)
    with pytest.raises(KeyboardInterrupt):
        render.render_study(own_dir, STANDING)
    assert live_element((own_dir / "report.html").read_text()) != {"id": "live"}
    with pytest.raises(KeyboardInterrupt):
        render.render_study(own_dir)
    assert live_element((own_dir / "report.html").read_text()) == {"id": "live"}


def test_figure_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = save_figure(words_figure("before", "protocol"), tmp_path, "figure")
    before = {path: path.read_bytes() for path in paths}
    write = style.write_figure
    seen = []

    def watched(figure: Any, target: Any, name: str, **options: Any) -> None:
        write(figure, target, name, **options)
        seen.append({path: path.read_bytes() for path in paths})

    monkeypatch.setattr(style, "write_figure", watched)
    save_figure(words_figure("after", "protocol"), tmp_path, "figure")
    assert seen[0] == before and seen[1][paths[1]] == before[paths[1]]
    after = {path: path.read_bytes() for path in paths}
    assert all(after[path] != before[path] for path in paths)

    def fail(figure: Any, target: Any, name: str, **options: Any) -> None:
        Path(target).write_bytes(b"half")
        raise MemoryError

    monkeypatch.setattr(style, "write_figure", fail)
    with pytest.raises(MemoryError):
        save_figure(words_figure("never", "protocol"), tmp_path, "figure")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == after
