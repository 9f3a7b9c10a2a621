"""A study of a real command whose driver is killed at every stage, and who listens meanwhile."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.made.faults import LOST, fault
from tests.made.struck_study import (
    PHASES,
    TRAINING,
    StruckStudy,
    differences,
    outcome,
    tracked_trials,
)
from tests.made.study_process import running

pytestmark = [pytest.mark.timeout(1800), pytest.mark.long]
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[StruckStudy, list[str], list[str]]]:
    """The undisturbed study, and who listened while it trained, as two tools say."""
    with running(StruckStudy(tmp_path_factory.mktemp("calm"))) as calm:
        assert calm.reaches(TRAINING), calm.said
        ours = calm.everyone()
        listening = [
            connection.laddr.ip
            for process in ours
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        command = ["ss", "--listening", "--tcp", "--numeric", "--processes", "--no-header"]
        table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        pids = tuple(f"pid={process.pid}," for process in ours)
        rows = [row for row in table.splitlines() if any(pid in row for pid in pids)]
        assert calm.end() == 0, calm.said
        yield calm, listening, rows


@fault(26, "`ss` and /proc, over all processes of a study that trains")
def test_all_servers_of_a_local_study_listen_on_loopback_alone(
    undisturbed: tuple[StruckStudy, list[str], list[str]],
) -> None:
    _, listening, rows = undisturbed
    assert len(listening) >= 5 and set(listening) <= set(LOOPBACK)
    assert rows
    for row in rows:
        address = row.split()[3].rpartition(":")[0].strip("[]")
        assert address in LOOPBACK, row


@fault(8, "SIGKILL in the prefix, training, scoring and confirmation of one study")
def test_driver_killed_at_every_stage_leaves_what_an_undisturbed_study_does(
    undisturbed: tuple[StruckStudy, list[str], list[str]],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    calm = undisturbed[0]
    with running(StruckStudy(tmp_path)) as struck:
        for phase in PHASES:
            assert struck.reaches(phase), f"the study ended before its {phase}"
            struck.kill_driver()
            struck.start()
        assert struck.end() == 0, struck.said
    assert "Traceback" not in struck.said
    assert differences(outcome(struck.study), outcome(calm.study)) == []
    assert tracked_trials(tmp_path / "runs/mlflow.db", "s") == [str(n) for n in range(6)]
    record_property(LOST, "what was trained or scored since the newest checkpoints, done again")
