"""Messages to a webhook, sent to a real server of this machine."""

import time

import pytest

from diffrop import webhook as webhook_module
from diffrop.webhook import LONGEST, Webhook, check_url
from tests.made.servers import free_port
from tests.made.webhooks import SECRET, as_shown, receiving

QUICK = (0.01, 0.02, 0.02)


def closed(webhook: Webhook, wait_s: float = 20.0) -> list[str]:
    webhook.close(wait_s)
    return webhook.failures()


@pytest.mark.parametrize("service", ["slack", "discord", "ntfy"])
def test_one_request_suits_every_service(service: str) -> None:
    with receiving() as received:
        webhook = Webhook(received.url)
        webhook.send("Study s: 2 of 9 trials, 5 % <!channel> & more @everyone.")
        assert closed(webhook) == []
    shown = as_shown(service, received.requests[0], received.headers[0])
    assert shown == "Study s: 2 of 9 trials, 5 % (!channel) + more @everyone."
    assert received.requests[0]["allowed_mentions"] == {"parse": []}  # Discord tells nobody
    assert received.headers[0]["Content-Type"] == "application/json"
    assert "urllib" not in received.headers[0]["User-Agent"]


def test_messages_come_in_order_and_are_cut() -> None:
    with receiving() as received:
        webhook = Webhook(received.url)
        for number in range(20):
            webhook.send(f"{number} " + number * 500 * "é")
        assert closed(webhook) == []
    assert [text.split()[0] for text in received.texts] == [str(n) for n in range(20)]
    assert max(map(len, received.texts)) <= LONGEST + 4 < 2_000


@pytest.mark.parametrize("answers", [(500, 503, 429), (0, 408, 502)])
def test_faults_of_the_server_are_tried_again(answers: tuple[int, ...]) -> None:
    with receiving(*answers) as received:
        webhook = Webhook(received.url, timeout_s=0.2, pauses_s=QUICK)
        webhook.send("once")
        webhook.send("twice")
        assert closed(webhook) == []
    assert received.texts == ["once"] * 4 + ["twice"]


@pytest.mark.parametrize(
    ("asked", "least_s", "most_s"),
    [("0.6", 0.6, 5.0), ("1", 1.0, 5.0), ("9999", 1.5, 5.0), ("0", 0.01, 0.5)]
    + [(odd, 0.01, 0.5) for odd in ("Wed, 21 Oct 2099 07:28:00 GMT", "-3", "nan", "", "soon")],
)
@pytest.mark.parametrize("status", [429, 503])
def test_server_says_how_long_to_wait(
    monkeypatch: pytest.MonkeyPatch, status: int, asked: str, least_s: float, most_s: float
) -> None:
    monkeypatch.setattr(webhook_module, "LONGEST_PAUSE_S", 1.5)
    with receiving(status) as received:
        received.retry_after = asked
        webhook = Webhook(received.url, pauses_s=(0.01,))
        webhook.send("once")
        assert closed(webhook) == []
    first, second = received.arrived
    assert received.texts == ["once"] * 2 and least_s <= second - first < most_s


def test_close_does_not_wait_as_long_as_a_server_asks() -> None:
    with receiving(429) as received:
        received.retry_after = "100"
        webhook = Webhook(received.url, pauses_s=(0.01,))
        webhook.send("once")
        received.wait_for(1)
        began = time.monotonic()
        assert closed(webhook, 0.3) == ["no answer in time"]
        assert time.monotonic() - began < 5.0


@pytest.mark.parametrize(
    ("answers", "tries", "why"),
    [((404,), 1, "HTTP 404"), ((302,), 1, "HTTP 302"), ((500,) * 4, 4, "HTTP 500")],
)
def test_what_is_refused_is_dropped_and_told_without_the_url(
    answers: tuple[int, ...], tries: int, why: str
) -> None:
    with receiving(*answers) as received:
        webhook = Webhook(received.url, pauses_s=QUICK)
        webhook.send("lost")
        webhook.send("found")
        assert closed(webhook) == [why]
    assert received.texts == ["lost"] * tries + ["found"]


def test_dead_and_silent_servers_hold_up_nobody() -> None:
    url = f"http://127.0.0.1:{free_port()}/{SECRET}"
    webhook = Webhook(url)
    began = time.monotonic()
    for number in range(200):
        webhook.send(str(number))
    assert time.monotonic() - began < 1.0
    failures = closed(webhook, 0.3)
    assert time.monotonic() - began < 3.0
    assert failures[-1] == "no answer in time" and "too many wait" in failures
    with receiving(0, 0, 0, 0) as received:
        webhook = Webhook(received.url, timeout_s=0.1, pauses_s=(0.01,))
        webhook.send("x")
        assert closed(webhook) in (["TimeoutError"], ["RemoteDisconnected"])
    dead = Webhook(url, pauses_s=())
    dead.send("x")
    assert closed(dead) == ["ConnectionRefusedError"]


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://host/{SECRET}",
        f"hooks.slack.com/{SECRET}",
        f"https:///{SECRET}",
        f"https://host:port/{SECRET}",
        f"https://host/{SECRET} x",
        f"https://host/{SECRET}\n",
        f"http://[host/{SECRET}",
    ],
)
def test_what_is_no_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="allowed: http") as error:
        check_url(url)
    assert SECRET not in str(error.value) and SECRET not in repr(error.value.__cause__)
