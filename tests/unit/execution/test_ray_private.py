import os
import signal
import sys

import pytest
from ray._private import ray_constants, services, utils

from diffrop.execution.ray_private import set_loopback_only, signals_left_to_us
from diffrop.signals import ENDING


@pytest.mark.parametrize("loopback_only", [True, False])
def test_this_process_and_those_it_starts_are_told_where_to_listen(
    monkeypatch: pytest.MonkeyPatch, loopback_only: bool
) -> None:
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    monkeypatch.setenv(name, "")
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", None)
    set_loopback_only(loopback_only)
    assert ray_constants.ENABLE_RAY_CLUSTER is not loopback_only
    assert os.environ[name] == ("0" if loopback_only else "1")


def test_what_ray_starts_has_a_session_of_its_own_and_ray_answers_no_signal() -> None:
    before = [signal.getsignal(number) for number in ENDING]
    with signals_left_to_us():
        started = services.start_ray_process(
            [sys.executable, "-c", "import time; time.sleep(60)"], "test", fate_share=True
        )
        utils.set_sigterm_handler(lambda number, frame: None)
        signal.signal(signal.SIGTERM, lambda number, frame: None)  # as Ray's core does
    try:
        assert os.getsid(started.process.pid) == started.process.pid
    finally:
        started.process.kill()
        started.process.wait()
    assert [signal.getsignal(number) for number in ENDING] == before
    assert services.ConsolePopen.__module__ == "ray._private.services"
