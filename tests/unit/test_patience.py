import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors import SafetensorError

from diffrop.errors import OutageError
from diffrop.patience import LONGEST_PAUSE_S, STOPPING_S, Patience, is_full_disk


class Clock:
    """Time that passes while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("diffrop.patience.time", made)
    return made


def away_until(clock: Clock, time: float) -> Callable[[], str]:
    def action() -> str:
        if clock.now < time:
            raise OSError("away")
        return "found"

    return action


def outage(error: Exception) -> str | None:
    return "the database is away" if isinstance(error, OSError) else None


def test_what_comes_back_is_found_and_both_is_said_once(clock: Clock) -> None:
    said: list[str] = []
    patience = Patience(300, said.append)
    assert patience.retry(away_until(clock, 1040), outage) == "found"
    assert 1040 <= clock.now <= 1040 + LONGEST_PAUSE_S + 0.2
    assert len(said) == 2
    assert said[0] == "Waiting, at most 300 s: the database is away."
    assert said[1].startswith("Going on after 4")


def test_short_outage_is_not_mentioned(clock: Clock) -> None:
    said: list[str] = []
    assert Patience(300, said.append).retry(away_until(clock, 1001), outage) == "found"
    assert said == []


def test_past_the_limit_it_is_given_up_once_and_each_later_action_fails_at_once(
    clock: Clock,
) -> None:
    given_up: list[str] = []
    patience = Patience(60, give_up=given_up.append)
    with pytest.raises(
        OutageError, match=r"^the database is away, for 6\d s .*--resume goes on$"
    ) as raised_first:
        patience.retry(away_until(clock, 2000), outage)
    assert 1060 <= clock.now <= 1060 + LONGEST_PAUSE_S + 0.2
    before = clock.now
    for _ in range(10):
        with pytest.raises(OutageError):
            patience.retry(away_until(clock, 2000), outage)
    assert clock.now == before and given_up == [str(raised_first.value)]
    clock.now = 2001
    assert patience.retry(away_until(clock, 2000), outage) == "found"
    with pytest.raises(OutageError):  # a new outage has all of the time again
        patience.retry(away_until(clock, 9000), outage)
    assert clock.now >= 2061 and len(given_up) == 2


@pytest.mark.parametrize("asked_at", [1000.0, 1001.0, 1020.0])
def test_a_request_to_stop_ends_the_wait_in_seconds(clock: Clock, asked_at: float) -> None:
    patience = Patience(300, stopped=lambda: clock.now >= asked_at)
    with pytest.raises(OutageError):
        patience.retry(away_until(clock, 2000), outage)
    assert clock.now <= asked_at + STOPPING_S + 0.5


def test_another_fault_is_raised_at_once(clock: Clock) -> None:
    calls: Iterator[int] = itertools.count()

    def action() -> None:
        next(calls)
        raise KeyError("another")

    with pytest.raises(KeyError):
        Patience(300).retry(action, outage)
    assert next(calls) == 1 and clock.now == 1000


def raised(action: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:
        action()
    return caught.value


def write_to_full_device() -> None:
    with Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")


def wrapped() -> None:
    try:
        write_to_full_device()
    except OSError as error:
        raise RuntimeError("cannot write") from error


def test_full_disk_is_known_by_whatever_error_it_arrives() -> None:
    assert is_full_disk(raised(write_to_full_device)) and is_full_disk(raised(wrapped))
    text = "Error while serializing: I/O error: No space left on device (os error 28)"
    assert is_full_disk(SafetensorError(text))
    assert not is_full_disk(FileNotFoundError(2, "No such file"))
    assert not is_full_disk(SafetensorError("invalid header"))


def test_mark_lies_there_while_an_outage_is_waited_for(clock: Clock, tmp_path: Path) -> None:
    patience, seen = Patience(300, mark=tmp_path / "waits"), set()

    def action() -> None:
        seen.add((tmp_path / "waits").exists())
        away_until(clock, 1040)()

    patience.retry(action, outage)
    assert seen == {False, True} and not (tmp_path / "waits").exists()
    with pytest.raises(OutageError):
        patience.retry(away_until(clock, 9000), outage)
    assert not (tmp_path / "waits").exists()
