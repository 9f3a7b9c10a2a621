"""Figures and report are drawn while a study runs: when, at what cost, and that it ends."""

import time
from pathlib import Path

import numpy as np
import pytest

from diffrop.background import Outcome
from diffrop.console import live_report
from diffrop.console.live_report import LONGEST_S, SHARE, LiveReport, next_drawing_at
from diffrop.console.screens import QuietScreen
from diffrop.engine.progress import Progress
from diffrop.record.study_folder import StudyFolder
from tests.made import background_calls
from tests.made.progress import progress, trial


class Call:
    """Takes the place of a process: a drawing that takes as long as the test says."""

    every: "list[Call]"

    def __init__(self, function: object, folder: str, standing: str) -> None:
        self.began, self.standing = live_report.time.monotonic(), standing
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


@pytest.fixture
def report(tmp_path: Path) -> LiveReport:
    return LiveReport(QuietScreen(), background_calls.work, StudyFolder(tmp_path))


def at(images: int, **changes: object) -> Progress:
    return progress(trial(0, "COMPLETE"), trial(1, images_seen=images), **changes)


def log(folder: Path) -> list[str]:
    path = folder / "study.log"
    return path.read_text().splitlines() if path.exists() else []


def test_drawing_has_its_share_of_the_time_whatever_it_costs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        costs = rng.gamma(2.0, 5.0, size=30)
        starts = [float(rng.uniform(0, 100))]
        for cost in costs[:-1]:
            starts.append(next_drawing_at(starts[-1], cost) + float(rng.exponential(5.0)))
        # From the first drawing until any later one may begin.
        spent, passed = np.cumsum(costs)[:-1], np.array(starts[1:]) - starts[0]
        assert (spent <= SHARE * passed + 1e-9).all()
    assert next_drawing_at(10.0, 4.0) == 10.0 + 50 * 4.0


def test_first_score_is_drawn_and_then_what_has_changed_once_it_is_due(
    report: LiveReport, clock: Clock
) -> None:
    report.show(progress(trial(0, score=None)))
    assert Call.every == []  # there is nothing to see
    report.show(at(100))
    (first,) = Call.every
    assert first.standing == "1 of 4 trials done, 1 running; 3 min left"
    clock.now += 30
    report.show(at(200))
    assert len(Call.every) == 1  # it is still being drawn
    first.outcome = Outcome(cpu_s=4.0, fault="")
    report.show(at(300))
    clock.now = first.began + 199
    report.show(at(400))
    assert len(Call.every) == 1  # not due
    clock.now = first.began + 200
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
        clock.now += 100
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
    def refuse(*args: object) -> None:
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


def test_real_process_is_never_waited_for(tmp_path: Path) -> None:
    report = LiveReport(QuietScreen(), background_calls.dwell, StudyFolder(tmp_path))
    start = time.process_time()
    report.show(at(0))
    assert time.process_time() - start < 0.5
    while not (tmp_path / "half-written").exists():
        report.show(at(0))
        time.sleep(0.02)
    report.close()
    assert list(tmp_path.iterdir()) == []
