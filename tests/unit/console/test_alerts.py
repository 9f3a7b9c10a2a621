"""What `--notify` tells of a study, and that its URL is kept nowhere."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from diffrop.console import alerts as alerts_module
from diffrop.console.alerts import FLUSH_S, AlertScreen
from diffrop.console.call import Call
from diffrop.console.commands import StudyCommand
from diffrop.console.screens import QuietScreen
from diffrop.data import load_dataset
from diffrop.engine.progress import Progress, Screen
from diffrop.engine.run import FinishedStudy
from diffrop.errors import FaultError
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.json_files import write_record
from diffrop.record.results import StudyResult
from diffrop.record.study_store import StudyStore
from diffrop.redaction import storable_words
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.webhook import Webhook
from tests.made import no_pages
from tests.made.confirmations import confirmation_record
from tests.made.progress import progress, trial
from tests.made.servers import free_port
from tests.made.small import SPACE
from tests.made.webhooks import SECRET, Received, receiving, written_below


class Heard(QuietScreen):
    """Keeps what is said and shown."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown: list[Progress] = []

    def show(self, progress: Progress) -> None:
        self.shown.append(progress)

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


@pytest.fixture
def received() -> Iterator[Received]:
    with receiving() as server:
        yield server


def alerts_of(received: Received, screen: Screen | None = None, **changes: object) -> AlertScreen:
    webhook = Webhook(received.url, pauses_s=(0.01,))
    return AlertScreen(screen or Heard(), "s", webhook, **changes)  # type: ignore[arg-type]


def test_failures_are_told_once_and_those_of_earlier_launches_never(received: Received) -> None:
    heard = Heard()
    alerts = alerts_of(received, heard)
    old = trial(0, "FAIL", message="loss was NaN at step 7")
    new = trial(2, "FAIL", message="too little memory for batch 64")
    again = trial(1, "FAIL", message="lost", name="t001-s1 hinge", seed=1)
    for trials in ([old, trial(2)], [old, new], [old, new]):
        alerts.show(progress(*trials))
    alerts.show(progress(old, new, retrainings=[again]))
    alerts.finish()
    assert received.texts == [
        "Study s: t002 hinge tau_0=3.2 failed for good: too little memory for batch 64",
        "Study s: t001-s1 hinge failed for good: lost",
    ]
    assert len(heard.shown) == 4 and heard.said == []


def test_budget_near_its_end_is_told_once(received: Received) -> None:
    alerts = alerts_of(received)
    for spent in (0.0, 0.5, 0.9, 0.95, 1.2):
        alerts.show(progress(trial(0), budget_spent=spent))
    alerts.finish()
    (text,) = received.texts
    assert text == "Study s: 90% of the budget is spent. 0/4 trials | no score yet | 3 min left"


def test_standstill_is_told_once_also_where_the_driver_stands_still(received: Received) -> None:
    alerts = alerts_of(received, still_s=0.3)
    for images in range(8):  # it moves for longer than that
        alerts.show(progress(trial(0, images_seen=images)))
        time.sleep(0.1)
    assert received.texts == []
    (text,) = received.wait_for(1)  # nobody calls it now
    assert "nothing has moved for 0.005 minutes" in text
    for _ in range(4):
        alerts.show(progress(trial(0, images_seen=7)))
        time.sleep(0.15)
    assert len(received.texts) == 1
    alerts.show(progress(trial(0, images_seen=8)))
    received.wait_for(2)
    alerts.finish()
    assert len(received.texts) == 2


def confirmation(best: int | None, current: bool = True) -> ConfirmationRecord:
    return confirmation_record(conclusion="It is better.", current=current, best=best)


@pytest.mark.parametrize(
    ("before", "record", "told"),
    [
        (None, confirmation(3), True),
        (2, confirmation(3), True),
        (3, confirmation(3), False),
        (None, confirmation(None), False),
        (None, confirmation(3, current=False), False),
        (None, None, False),
    ],
)
def test_confirmed_best_is_told_where_it_is_new(
    received: Received, before: int | None, record: ConfirmationRecord | None, told: bool
) -> None:
    alerts = alerts_of(received, confirmed=before)
    alerts.ended("the launch has ended, 4 of 4 trials.", record)
    alerts.finish()
    expected = ["Study s: a new best is confirmed, t003: It is better."] if told else []
    assert received.texts == [*expected, "Study s: the launch has ended, 4 of 4 trials."]


def test_confirmed_best_is_told_once(received: Received) -> None:
    alerts = alerts_of(received)
    for _ in range(2):
        alerts.ended("the launch has ended.", confirmation(3))
    alerts.finish()
    assert sum("confirmed" in text for text in received.texts) == 1


def test_message_that_is_not_taken_is_said_without_the_url() -> None:
    heard = Heard()
    with receiving(404) as received:
        alerts = alerts_of(received, heard)
        alerts.ended("the launch has ended.", None)
        alerts.finish()
    assert heard.said == ["A message of --notify was not taken (HTTP 404)."]


Command = Callable[..., int]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, finished: tuple[StudyStore, StudyResult]) -> Command:
    """A study's command whose launch makes the study's folder, and then ends as it is told to."""
    _, result = finished
    faults: list[BaseException] = []
    confirmed: list[ConfirmationRecord | str] = []

    def prepared(
        config: StudyConfig, launch: LaunchConfig, store: StudyStore, tell: object
    ) -> SimpleNamespace:
        inputs = SimpleNamespace(dataset=load_dataset(config.experiment.data))
        return SimpleNamespace(store=store, inputs=inputs, warm_start=SimpleNamespace(notes=()))

    def launched(
        config: StudyConfig,
        launch: LaunchConfig,
        prepared: SimpleNamespace,
        command: str,
        screen: Screen,
        render: object,
        show: object,
    ) -> FinishedStudy:
        prepared.store.create(config, command, launch, {})
        screen.show(progress(trial(0)))
        screen.show(progress(trial(0, "FAIL", message="NaN")))
        for record in confirmed:
            if isinstance(record, str):
                prepared.store.folder.confirmation.write_text(record)
            else:
                write_record(prepared.store.folder.confirmation, record)
        if faults:
            raise faults[0]
        return FinishedStudy(result, prepared.store.path, {}, "", [], False, "no budget")

    def run(
        *argv: str,
        fault: BaseException | None = None,
        record: ConfirmationRecord | str | None = None,
        **environment: str,
    ) -> int:
        faults[:] = [] if fault is None else [fault]
        confirmed[:] = [] if record is None else [record]
        made = StudyCommand("run_x", "A study.", SPACE, pages=no_pages)
        words = [*argv, "--study-name", "s", "--json"]
        return made.main(Call("diffrop study x", words, environment))

    monkeypatch.setattr("diffrop.engine.prepare.prepare", prepared)
    monkeypatch.setattr("diffrop.engine.run.run_study", launched)
    return run


FAILED = "Study s: t000 hinge tau_0=3.2 failed for good: NaN"
"""What every launch of the command tells first."""


@pytest.mark.parametrize("how", ["--notify {url}", "--notify={url}", "--notif {url}", ""])
def test_url_is_in_no_file_and_no_output(
    command: Command,
    received: Received,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    how: str,
) -> None:
    words = how.format(url=received.url).split()  # none: by the variable
    variable = {} if words else {"DIFFROP_NOTIFY": received.url}
    root = tmp_path / "new"
    assert command(*words, "--runs-root", str(root), "--trials", "4", **variable) == 0
    assert received.texts == [
        FAILED,
        "Study s: the launch has ended, 4 of 4 trials. Ended early: no budget.",
    ]
    shown = "".join(capfd.readouterr())
    assert SECRET not in shown and "notify" not in shown
    assert (root / "s/study.yaml").exists() and "study x --runs-root" in shown_command(root)
    assert written_below(root, [SECRET, "notif", received.url]) == []


def shown_command(root: Path) -> str:
    return str(yaml.safe_load((root / "s/study.yaml").read_text())["command"])


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (FaultError("the cluster is gone"), 1, "the launch has ended: the cluster is gone."),
        (RuntimeError("boom"), 1, "the launch has ended: unexpected RuntimeError (boom)."),
        (KeyboardInterrupt(), 130, "the launch has ended: it was interrupted."),
    ],
)
def test_fault_is_told_and_its_trace_has_no_url(
    command: Command,
    received: Received,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    fault: BaseException,
    code: int,
    words: str,
) -> None:
    root = tmp_path / "new"
    with pytest.raises(SystemExit) as ended:
        command("--notify", received.url, "--debug", "--runs-root", str(root), fault=fault)
    assert ended.value.code == code
    assert received.texts == [FAILED, f"Study s: {words}"]
    assert SECRET not in "".join(capfd.readouterr())
    assert written_below(root, [SECRET]) == []


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (confirmation(3), ["Study s: a new best is confirmed, t003: It is better."]),
        (confirmation(None), []),
        (confirmation(3, current=False), []),
        ("no JSON", []),
    ],
)
@pytest.mark.parametrize("fault", [RuntimeError("boom"), KeyboardInterrupt()])
def test_best_that_was_confirmed_before_a_launch_failed_is_told(
    command: Command,
    received: Received,
    tmp_path: Path,
    record: ConfirmationRecord | str,
    told: list[str],
    fault: BaseException,
) -> None:
    """The next launch takes it as known, and would not tell it."""
    argv = ("--notify", received.url, "--runs-root", str(tmp_path / "new"))
    with pytest.raises(SystemExit):
        command(*argv, fault=fault, record=record)
    _, *found, last = received.texts
    assert found == told and last.startswith("Study s: the launch has ended: ")


def test_dead_server_costs_a_launch_so_many_seconds_at_most(
    command: Command,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert FLUSH_S == 20.0
    monkeypatch.setattr(alerts_module, "FLUSH_S", 1.0)
    began = time.monotonic()
    url = f"http://127.0.0.1:{free_port()}/{SECRET}"
    assert command("--notify", url, "--runs-root", str(tmp_path / "new")) == 0
    assert time.monotonic() - began < 60
    shown = "".join(capfd.readouterr())
    assert "A message of --notify was not taken (no answer in time)." in shown
    assert SECRET not in shown


@pytest.mark.parametrize("variable", [False, True])
def test_what_is_no_url_is_refused_without_being_shown(
    command: Command, capfd: pytest.CaptureFixture[str], variable: bool
) -> None:
    bad = f"ftp://host/{SECRET}"
    words, environment = ([], {"DIFFROP_NOTIFY": bad}) if variable else (["--notify", bad], {})
    with pytest.raises(SystemExit) as ended:
        command(*words, **environment)
    error = capfd.readouterr().err
    assert ended.value.code == 2 and SECRET not in error
    assert "(which is not shown) is none; allowed: http(s)://HOST/..." in error


def test_only_the_credential_goes_from_what_was_typed() -> None:
    url = f"https://hooks/{SECRET}"
    argv = ["--notify", url, "--trials", "4", f"--not={url}", "--num-samples", "9", "--noti", url]
    assert storable_words(argv) == ["--trials", "4", "--num-samples", "9"]
    assert storable_words(["--trials", "4", "--notify"]) == ["--trials", "4"]
