import contextlib
import dataclasses
import hashlib
import io
import json
import os
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState
from rich.console import Console

from diffrop.console.status import (
    NewStudyStatus,
    StudyStatus,
    ago,
    all_statuses,
    new_study_lines,
    status_lines,
    studies_table,
    study_status,
    trials_table,
)
from diffrop.cost.plan import make_plan
from diffrop.engine.preparing import Preparing
from diffrop.errors import StudyError
from diffrop.record.cost import CostRecord
from diffrop.record.json_files import write_record
from diffrop.record.study_store import StudyStore
from diffrop.record.trial_state import RUNGS, VALUES
from diffrop.storage import write_atomically
from diffrop.study.config import LaunchConfig
from tests.made.commands import command
from tests.made.confirmations import confirmation_record
from tests.made.plans import NODES, PROBE
from tests.made.processes import HEAVY, run_bare
from tests.made.scores import write_score
from tests.made.small import small_study

COMMAND = "python studies/run_tau_sweep.py --trials 4 --study-name 'small' --budget-wall 60"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> StudyStore:
    """A study of four: a baseline of 50, a hinge stopped at 64 images, one that runs."""
    config = small_study(num_trials=4)
    store = StudyStore(tmp_path_factory.mktemp("made") / "runs", config.name)
    study = store.create(config, COMMAND, LaunchConfig(), {})
    for number, images in enumerate((128, 64, 0)):
        trial = study.ask()
        values = {"contrastive.form": "none" if number == 0 else "hinge"}
        trial.set_user_attr(VALUES, values)
        if images:
            trial.set_user_attr(RUNGS, {str(images): {"values": [50.0], "num_samples": 40}})
            write_score(store.folder.trial(number).path, 50.0, images)
    study.tell(0, 50.0)
    study.tell(1, state=TrialState.PRUNED)
    curve = {"images_seen": 96, "loss/ddpm": 0.25, "pcl/grad_ratio": 0.031, "images_per_s": 1234.5}
    curves = store.folder.trial(2).path / "training" / "metrics.jsonl"
    write_atomically(curves, json.dumps(curve) + "\n")
    past = time.time() - 300
    os.utime(curves, (past, past))
    return store


@pytest.fixture
def store(made: StudyStore, tmp_path: Path) -> StudyStore:
    """A copy of it."""
    shutil.copytree(made.path.parent, tmp_path / "runs")
    return StudyStore(tmp_path / "runs", made.name)


def test_study_that_prepares_is_shown_before_it_has_a_configuration(tmp_path: Path) -> None:
    new = StudyStore(tmp_path / "runs", "new")
    preparing, text = Preparing(new.folder), io.StringIO()
    with preparing.run():
        status = study_status(new)
        assert isinstance(status, NewStudyStatus) and status.state == "preparing"
        assert new_study_lines(status) == ["Study new is preparing: it has just begun."]
        preparing.note("features of 50,000 real images", 0.125)
        found = all_statuses(tmp_path / "runs")["new"]
        assert isinstance(found, NewStudyStatus)
        assert found.to_dict()["preparing"] == ["features of 50,000 real images 12%, 0 s"]
        Console(file=text, width=80).print(studies_table({"new": found}))
        assert "preparing" in text.getvalue() and "12%, 0 s" in text.getvalue()
        [own] = new.folder.preparing.iterdir()
        own.rename(new.folder.preparing / "elsewhere-1-abc")
        gone = time.time() - 3600
        os.utime(new.folder.preparing / "elsewhere-1-abc", (gone, gone))
        killed = study_status(new)
        assert isinstance(killed, NewStudyStatus) and killed.state == "stopped"
        assert "by the same command" in new_study_lines(killed)[1]


def test_study_that_is_resumed_says_what_it_prepares(store: StudyStore) -> None:
    preparing = Preparing(store.folder)
    with preparing.run():
        preparing.note("starting Ray", None)
        status = study_status(store)
        assert isinstance(status, StudyStatus) and status.state == "preparing"
        assert "is preparing: starting Ray, 0 s; 0 driver(s)" in status_lines(status)[0]


def shown(store: StudyStore) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    status = study_status(store)
    head, *others = status_lines(status)
    console.print(head)
    console.print(trials_table(status))
    for line in others:
        console.print(line)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    console.print(trials_table(status, 40))
    assert max(len(line.rstrip()) for line in console.export_text().splitlines()) <= 40
    return text


def test_trials_beyond_the_most_rows_are_counted_in_a_table_that_fits(
    store: StudyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_trials = len(study_status(store).progress.trials)
    monkeypatch.setattr("diffrop.console.status.MOST_ROWS", 1)
    assert f"{num_trials - 1} more" in shown(store)


def test_stopped_study_says_what_is_left_and_how_to_go_on(store: StudyStore) -> None:
    status = study_status(store)
    assert status.state == "stopped"
    assert status.progress.num_ended == 2
    assert status.hours * 3600 == pytest.approx(2 * 3.6)
    text = shown(store)
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line[:2] == "t0"}
    assert lines["t002"][1:] == [
        "unfinished",
        "hinge",
        "75%",
        "1,234",
        "0.2500",
        "0.031",
        "-",
        "-",
        "5",
        "min",
    ]
    assert lines["t000"][1:4] == ["COMPLETE", "baseline", "100%"]
    assert lines["t001"][1:4] == ["PRUNED", "hinge", "50%"]
    joined = " ".join(text.split())
    assert "0 driver(s) alive" in joined
    assert "run_tau_sweep.py --trials 4 --budget-wall 60 --study-name small --resume" in joined


def test_drivers_that_beat_are_alive_and_silent_ones_are_gone(store: StudyStore) -> None:
    store.folder.drivers.mkdir()
    (store.folder.drivers / "host-1-aa").touch()
    assert study_status(store).state == "running"
    assert "RUNNING" in shown(store)
    past = time.time() - 600
    os.utime(store.folder.drivers / "host-1-aa", (past, past))
    assert study_status(store).state == "stopped"
    assert "gone without a word: host-1-aa" in " ".join(shown(store).split())


def test_plan_and_conclusion_are_shown(store: StudyStore) -> None:
    plan = make_plan(small_study(), LaunchConfig(budget_gpu_hours=2.0), 10, PROBE, NODES)
    plan = dataclasses.replace(plan, worker_hours=1.5)
    write_record(store.folder.cost, CostRecord(began=0.0, plan=plan))
    write_record(store.folder.confirmation, confirmation_record(conclusion="No difference found."))
    write_score(store.path / "confirm" / "t000-s0", 51.0, 128)
    (store.path / "confirm" / "t001-s0").mkdir()
    text = " ".join(shown(store).split())
    assert "Confirmation: 1 of 2 trainings with fresh seeds are scored." in text
    assert "Spent: 0.003 hours of workers, of 1.5 planned; budget 2 hours." in text
    assert "Confirmed: No difference found." in text


def test_interrupted_confirmation_is_stopped_and_not_finished(store: StudyStore) -> None:
    study = store.open(LaunchConfig(resume=True))
    study.tell(2, state=TrialState.PRUNED)
    store.resume(small_study(num_trials=3), COMMAND, LaunchConfig(resume=True), {})
    assert study_status(store).state == "finished"
    write_record(store.folder.confirmation, confirmation_record(conclusion="?", num_left=7))
    assert study_status(store).state == "stopped"
    assert "Go on with: python studies/run_tau_sweep.py" in " ".join(shown(store).split())
    write_record(store.folder.confirmation, confirmation_record(conclusion="!"))
    assert study_status(store).state == "finished"


def test_reading_changes_nothing_even_while_a_driver_writes(store: StudyStore) -> None:
    def digests() -> dict[Path, str]:
        files = [path for path in store.path.rglob("*") if path.is_file()]
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = digests()
    with contextlib.closing(sqlite3.connect(store.folder.database)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        study_status(store)
        writer.rollback()
    assert digests() == before


def test_studies_are_listed_and_damaged_ones_say_so(
    store: StudyStore, capsys: pytest.CaptureFixture[str]
) -> None:
    root = store.path.parent
    (root / "foreign").mkdir()
    (root / "foreign" / "study.yaml").write_text("format: 1\n")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(studies_table(all_statuses(root)))
    text = " ".join(console.export_text().split())
    assert "foreign unreadable" in text and "has format 1; allowed: 3" in text
    assert "small stopped 2/4 trials" in text
    command("status")(["--json", "--runs-root", str(root)])
    printed = json.loads(capsys.readouterr().out)
    assert printed["small"]["state"] == "stopped"
    assert "has format 1" in printed["foreign"]["error"]


def test_study_without_a_database_in_its_folder_is_read_from_the_storage(
    store: StudyStore,
) -> None:
    root = store.path.parent
    shutil.move(store.folder.database, root / "server.db")
    assert "is missing" in str(all_statuses(root)[store.name])
    found = all_statuses(root, f"sqlite:///{root / 'server.db'}")[store.name]
    assert isinstance(found, StudyStatus) and found.state == "stopped"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda store: store.folder.database.unlink(), "study.db is missing.*--storage"),
        (lambda store: store.folder.database.write_bytes(b"no database" * 99), "cannot read"),
        (lambda store: store.folder.database.write_bytes(b""), "cannot read the study database"),
        (lambda store: store.folder.config.unlink(), "is no study; studies there: none"),
        (lambda store: store.folder.config.write_text("- 1"), "not a mapping.*no study"),
    ],
)
def test_damaged_studies_get_one_sentence(store: StudyStore, damage: object, message: str) -> None:
    damage(store)  # type: ignore[operator]
    with pytest.raises((StudyError, ValueError), match=message) as raised:
        study_status(store)
    assert "\n" not in str(raised.value)


def test_resume_command_names_the_study_once(store: StudyStore) -> None:
    assert study_status(store).resume.count("--study-name") == 1
    assert ago(30) == "30 s" and ago(7300) == "2 h" and ago(None) == "-"


def test_command_imports_nothing_slow(store: StudyStore) -> None:
    code = (
        "import runpy, sys\n"
        "heavy = sys.argv.pop().split(',')\n"
        "sys.argv = ['status.py', 'small', '--json', '--runs-root', sys.argv[1]]\n"
        "try: runpy.run_path('studies/status.py', run_name='__main__')\n"
        "finally: assert not [name for name in heavy if name in sys.modules], sys.modules.keys()"
    )
    printed = run_bare(code, str(store.path.parent), ",".join(HEAVY))
    assert json.loads(printed)["state"] == "stopped"
