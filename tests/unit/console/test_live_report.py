"""Figures and report are drawn while a study runs: when, at what cost, and that it ends."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from diffrop.background import Outcome
from diffrop.console import live_report
from diffrop.console.live_report import (
    FIRST_S,
    LONGEST_S,
    SHARE,
    STANDING_S,
    LiveReport,
)
from diffrop.console.screens import QuietScreen
from diffrop.engine.progress import Progress, Render
from diffrop.record.study_folder import StudyFolder
from tests.made import background_calls
from tests.made.progress import progress, trial


class Call:
    """Takes the place of a process: a drawing that takes as long as the test says."""

    every: "list[Call]"

    def __init__(self, function: object, folder: str, standing: str, cpu_s: int) -> None:
        self.began, self.standing, self.cpu_s = live_report.time.monotonic(), standing, cpu_s
        self.function = function
        self.outcome: Outcome | None = None
        self.ended = False
        Call.every.append(self)

    def poll(self) -> Outcome | None:
        return self.outcome

    def end(self) -> Outcome:
        self.ended = True
        return Outcome(1.0, "")


class Clock:
    """Takes the place of the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(live_report, "time", found)
    monkeypatch.setattr(live_report, "BackgroundCall", Call)
    Call.every = []
    return found


class Told:
    """Draws by a function of the test, and notes what the page is told."""

    def __init__(self, render: Render) -> None:
        self.render_study = render
        self.told: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = []

    def study_answer(self, study_dir: Path) -> str:
        raise AssertionError

    def show_standing(
        self,
        study_dir: Path,
        standing: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
    ) -> None:
        self.told.append((standing, columns, rows))


PAID_S = FIRST_S / SHARE
"""After so long the first drawing begins."""


@pytest.fixture
def pages() -> Told:
    return Told(background_calls.work)


@pytest.fixture
def report(tmp_path: Path, pages: Told, clock: Clock) -> LiveReport:
    found = LiveReport(QuietScreen(), pages, StudyFolder(tmp_path))
    clock.now += PAID_S
    return found


def at(images: int, **changes: object) -> Progress:
    return progress(trial(0, "COMPLETE"), trial(1, images_seen=images), **changes)


def log(folder: Path) -> list[str]:
    path = folder / "study.log"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("least_s", [0.5, 15.0, 39.0, 400.0])
def test_drawings_never_have_more_than_their_share_of_the_time(
    tmp_path: Path, pages: Told, clock: Clock, least_s: float
) -> None:
    """Whatever they take: the first is expected to take 20 s, and none is known before."""
    rng, spent_s, began = np.random.default_rng(0), 0.0, clock.now
    report, num_drawn = LiveReport(QuietScreen(), pages, StudyFolder(tmp_path)), 0
    for images in range(400):
        clock.now += float(rng.uniform(0.0, 600.0))
        report.show(at(images))
        if Call.every and Call.every[-1].outcome is None:
            call = Call.every[-1]
            cost = least_s + float(rng.gamma(2.0, 0.2 * least_s))
            used_up = cost > call.cpu_s
            cost = min(cost, float(call.cpu_s))  # all of it at once, the worst that it can do
            call.outcome = Outcome(cost, "", used_up)
            spent_s, num_drawn = spent_s + cost, num_drawn + (not used_up)
            assert spent_s <= SHARE * (clock.now - began) + 1e-9
    assert num_drawn >= 2 and log(tmp_path) == []


def test_drawing_that_was_ended_has_twice_as_much_the_next_time(
    report: LiveReport, clock: Clock
) -> None:
    report.show(at(0))
    assert Call.every[0].cpu_s == FIRST_S
    Call.every[0].outcome = Outcome(FIRST_S, "", used_up=True)
    report.show(at(0))
    clock.now = 1000.0 + 3 * PAID_S - 1
    report.show(at(0))
    assert len(Call.every) == 1
    clock.now += 1
    report.show(at(0))  # the study is where it was, but that was not drawn
    assert Call.every[1].cpu_s == 2 * FIRST_S


def test_short_launch_spends_nothing_on_drawing_and_its_page_is_there_from_the_start(
    tmp_path: Path, pages: Told, clock: Clock
) -> None:
    report = LiveReport(QuietScreen(), pages, StudyFolder(tmp_path))
    report.show(progress(trial(0, score=None, num_samples=None)))
    assert len(pages.told) == 1
    for second in range(int(PAID_S)):
        clock.now = 1000.0 + second
        report.show(at(100 + second))
    assert Call.every == [] and len(pages.told) == PAID_S / STANDING_S
    standing, columns, rows = pages.told[-1]
    assert standing == "1 of 4 trials done, 1 running; 3 min left"
    assert columns == ("trial", "state", "images", "fid/few", "N")
    assert [row[1:] for row in rows] == [
        ("complete", "5,120", "41.23", "200"),
        ("running", f"{100 + PAID_S - STANDING_S:,.0f}", "41.23", "200"),
    ]


def test_first_score_is_drawn_once_that_is_paid_and_then_what_has_changed(
    report: LiveReport, pages: Told, clock: Clock
) -> None:
    report.show(progress(trial(0, score=None)))
    assert Call.every == [] and len(pages.told) == 1  # there is nothing else to see
    report.show(at(100))
    (first,) = Call.every
    assert first.standing == "1 of 4 trials done, 1 running; 3 min left"
    assert first.function is background_calls.work
    clock.now += 30
    report.show(at(200))
    assert len(Call.every) == 1 and len(pages.told) == 1  # the page is about to be replaced
    assert first.cpu_s == FIRST_S
    first.outcome = Outcome(cpu_s=15.0, fault="")
    report.show(at(300))
    clock.now = 1000.0 + 50 * (15.0 + 2 * 15.0) - 1
    report.show(at(400))
    assert len(Call.every) == 1 and len(pages.told) == 2  # not due
    clock.now += 1
    report.show(at(100))
    assert len(Call.every) == 1  # due, but where it was
    report.show(at(400))
    assert len(Call.every) == 2


def test_failing_drawings_cost_one_warning_in_the_log(
    report: LiveReport, clock: Clock, tmp_path: Path
) -> None:
    for images in range(3):
        report.show(at(images))
        Call.every[-1].outcome = Outcome(cpu_s=1.0, fault="the figure has no axes")
        report.show(at(images))
        clock.now += 50
    assert len(Call.every) == 3
    (line,) = log(tmp_path)
    assert line.endswith("could not be drawn while the study runs: the figure has no axes")


def test_drawing_that_does_not_end_is_given_up(
    report: LiveReport, clock: Clock, tmp_path: Path
) -> None:
    report.show(at(0))
    clock.now += LONGEST_S + 1
    report.show(at(1))
    assert Call.every[0].ended and "it took more than 30 minutes" in log(tmp_path)[0]


def test_no_process_for_a_drawing_costs_a_warning(
    report: LiveReport, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(live_report, "BackgroundCall", refuse)
    report.show(at(0))
    assert "Resource temporarily unavailable" in log(tmp_path)[0]


def test_close_ends_the_drawing_and_no_other_begins(report: LiveReport, clock: Clock) -> None:
    report.show(at(0))
    report.close()
    assert Call.every[0].ended
    clock.now += 1000
    report.show(at(1))
    report.close()
    assert len(Call.every) == 1


def test_real_process_is_never_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_report, "SHARE", 1e9)  # there is something to spend at once
    report = LiveReport(QuietScreen(), Told(background_calls.dwell), StudyFolder(tmp_path))
    start = time.process_time()
    report.show(at(0))
    assert time.process_time() - start < 0.5
    while not (tmp_path / "half-written").exists():
        report.show(at(0))
        time.sleep(0.02)
    report.close()
    assert list(tmp_path.iterdir()) == []
