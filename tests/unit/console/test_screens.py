"""What is shown while a study runs."""

import io
import json
import re
import time

import pytest
from rich.console import Console

from diffrop.console.screens import JsonScreen, LiveScreen, PlainScreen, QuietScreen, open_screen
from diffrop.engine.progress import Progress, Screen
from tests.made.progress import SCORING, progress, trial


def drawn(screen: Screen, output: io.StringIO, state: Progress) -> str:
    """What a screen adds to its output for a state."""
    before = output.tell()
    screen.show(state)
    return output.getvalue()[before:]


def test_without_a_terminal_each_ended_trial_is_one_line() -> None:
    output = io.StringIO()
    screen = PlainScreen(Console(file=output, width=40))
    assert drawn(screen, output, progress(trial(0))) == ""
    done = trial(0, "COMPLETE", images_seen=20_480)
    leader = progress(done, trial(1), best=done)
    first, second = drawn(screen, output, leader).splitlines()
    assert first == "t000 hinge tau_0=3.2 | COMPLETE at 20,480 | fid/few 41.23 at N = 200"
    assert second == "1/4 trials | best fid/few 41.23 (t000 hinge tau_0=3.2) | 3 min left"
    assert drawn(screen, output, leader) == ""


def test_failed_trial_says_why() -> None:
    output = io.StringIO()
    screen = PlainScreen(Console(file=output))
    failed = trial(1, "FAIL", score=None, num_samples=None, message="out of memory")
    assert "FAIL at 5,120 | no score: out of memory" in drawn(screen, output, progress(failed))


@pytest.mark.parametrize(
    ("width", "shown", "hidden"),
    [
        (100, ["1,234", "0.0512", "pcl/grad_ratio", "0.0123", "(N 200)"], []),
        (60, ["1,234", "0.0512", "41.23"], ["pcl/grad_ratio", "(N 200)"]),
        (40, ["t000", "25%", "41.23"], ["1,234", "0.0512"]),
    ],
)
def test_live_table_fits_the_terminal(width: int, shown: list[str], hidden: list[str]) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, height=20, no_color=True)
    screen = LiveScreen(console)
    text = drawn(screen, output, progress(trial(0)))
    screen.close()
    assert all(part in text for part in shown)
    assert not any(part in text for part in hidden)
    plain = Console(file=io.StringIO(), width=width)
    assert all(plain.measure(line).maximum <= width for line in text.splitlines())


def test_live_view_survives_what_else_is_printed_and_leaves_one_line() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80, height=20, highlight=False)
    screen = LiveScreen(console)
    screen.show(progress(trial(0)))
    console.print("a warning of something else")
    screen.show(progress(trial(0, "COMPLETE"), trial(1)))
    screen.close()
    text = output.getvalue()
    assert "a warning of something else\n" in text
    assert "t000 hinge tau_0=3.2 | COMPLETE" in text
    assert text.rstrip().endswith("1/4 trials | no score yet | 3 min left")


def test_more_trials_than_lines_are_counted() -> None:
    output = io.StringIO()
    screen = LiveScreen(Console(file=output, force_terminal=True, width=80, height=10))
    text = drawn(screen, output, progress(*(trial(number) for number in range(30))))
    screen.close()
    assert "and 24 more" in text and "t006" not in text


def test_what_is_being_done_is_shown_with_its_seconds_and_the_table_comes_back() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=60, height=10, no_color=True)
    screen = LiveScreen(console)
    screen.working("features of 1,797 real images", 0.345)
    assert "features of 1,797 real images 34%, 0 s" in output.getvalue()
    time.sleep(1.6)  # nobody calls: the seconds go on
    assert re.search(r"34%, [12] s", output.getvalue())
    assert "t000" in drawn(screen, output, progress(trial(0)))
    screen.close()
    screen.working("drawing figures and report")
    assert "drawing figures and report, 0 s" in output.getvalue()
    screen.close()


@pytest.mark.parametrize("width", [40, 80])
def test_trial_that_is_scored_says_how_far_it_is(width: int) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, height=20, no_color=True)
    screen = LiveScreen(console)
    text = drawn(screen, output, progress(trial(0, scoring=SCORING), trial(1)))
    screen.close()
    whole = "t000 | scoring: round 2 of 3, ddim-8, omega 0.5, 1,200 of 3,000 images, 2 min left"
    assert whole[: width - 3] in text and text.count("scoring") == 1


def until(output: io.StringIO, words: str) -> str:
    """Return what was printed once it holds these words."""
    deadline = time.monotonic() + 20
    while words not in output.getvalue():
        assert time.monotonic() < deadline, output.getvalue()
        time.sleep(0.02)
    return output.getvalue()


def test_without_a_terminal_what_takes_long_is_said_now_and_then() -> None:
    output = io.StringIO()
    screen = PlainScreen(Console(file=output, width=40), first_s=0.2, every_s=0.6)
    screen.working("features of 1,797 real images", 0.25)
    assert output.getvalue() == ""
    until(output, "features of 1,797 real images 25%, 0 s\n")
    screen.working("features of 1,797 real images", 0.5)
    until(output, "real images 50%")
    assert output.getvalue().count("features") == 2
    screen.show(progress(trial(0, scoring=SCORING), trial(1)))
    text = until(output, "t001")
    assert "0/4 trials | no score yet | 3 min left\n" in text
    assert "t000 | scoring: round 2 of 3, ddim-8, omega 0.5, 1,200 of 3,000" in text
    assert "t001 | 25%, 1,234/s" in text
    screen.close()
    length = len(output.getvalue())
    time.sleep(0.8)
    assert len(output.getvalue()) == length


def test_lines_of_a_study_that_moves_are_one_for_each_trial_alone() -> None:
    output = io.StringIO()
    screen = PlainScreen(Console(file=output, width=80), first_s=1.0, every_s=60.0)
    for what in ("reading", "fitting", "opening"):
        screen.working(what)
        time.sleep(0.4)
        screen.say(f"{what} is done.")
    screen.close()
    lines = [f"{what} is done." for what in ("reading", "fitting", "opening")]
    assert output.getvalue().splitlines() == lines


def test_json_lines_hold_every_change_once() -> None:
    output = io.StringIO()
    screen = JsonScreen(output)
    screen.show(progress(trial(0), trial(1)))
    screen.show(progress(trial(0), trial(1, images_seen=7_680)))
    screen.say("confirming")
    for share in (0.1, 0.2):  # the second is too soon
        screen.working("features", share)
    rows = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [(r["event"], r.get("number"), r.get("images_seen")) for r in rows] == [
        ("trial", 0, 5_120),
        ("trial", 1, 5_120),
        ("trial", 1, 7_680),
        ("message", None, None),
        ("working", None, None),
    ]
    assert (rows[-1]["what"], rows[-1]["share"]) == ("features", 0.1)
    assert rows[0]["loss"] == 0.0512 and rows[0]["grad_ratio"] == 0.0123


def test_view_chooses_the_screen() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True)
    live = open_screen("lines", terminal)
    live.close()
    assert isinstance(live, LiveScreen)
    assert isinstance(open_screen("lines", Console(file=io.StringIO())), PlainScreen)
    assert isinstance(open_screen("quiet", terminal), QuietScreen)
    assert isinstance(open_screen("json", terminal), JsonScreen)


def test_retrainings_run_beside_their_trial() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80, height=20, no_color=True)
    screen = LiveScreen(console)
    again = [trial(1, seed=0), trial(1, "COMPLETE", seed=1)]
    state = progress(trial(1, "COMPLETE"), retrainings=again, num_retrainings=4, num_trials=1)
    text = drawn(screen, output, state)
    screen.close()
    assert "t001-s0" in text and "1/4 retrainings" in text and "t001-s1" not in text
    file = io.StringIO()
    JsonScreen(file).show(state)
    events = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [(event["number"], event["seed"]) for event in events] == [(1, None), (1, 0), (1, 1)]
