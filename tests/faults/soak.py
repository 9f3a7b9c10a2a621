"""Strikes studies at random for some minutes, and compares what comes out with calm ones.

    python tests/faults/soak.py --minutes 20 --seed 1

Studies of two kinds take turns. Those without a scheduler must end with exactly the planned
trials, scores and weights bitwise those of an undisturbed run. Of those with one, none may be
lost or counted twice, and each score must be that of its own training undisturbed: the reference
is a run that stops no trial. Every strike is printed with the moment at which it came; the exit
code is 1 if anything differed, with what did.
"""

import argparse
import contextlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.made.servers import free_port, serving
from tests.made.struck_study import (
    PHASES,
    POINTS,
    WORKER,
    StruckStudy,
    differences,
    newest_checkpoint,
    outcome,
    tracked_trials,
)
from tests.made.study_process import running

STRIKES_PER_STUDY = 6
STOP_S = 150
"""Within which a driver must end that was told to, or lost its cluster."""
SILENT_S = 15
"""For which MLflow, a worker or the database is away."""
FIXED, SCHEDULED = "fixed points", "a scheduler"
OPTIONS = {
    FIXED: ["--scheduler", "none"],
    SCHEDULED: ["--scheduler", "asha"],
}


@dataclass
class Soak:
    """What is struck, and what was found."""

    rng: random.Random
    folder: Path
    server: psutil.Process
    """MLflow's."""
    tracking_uri: str
    least: int
    """Strikes of each kind, however short the minutes."""
    struck: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    """What differed, one sentence each."""
    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    def differs(self, text: str) -> None:
        """Print and keep what differed."""
        self.say(f"DIFFERS: {text}")
        self.found.append(text)

    def next_kind(self) -> str:
        """Return a kind that was struck least."""
        least = min(self.struck[kind] for kind in STRIKES)
        return self.rng.choice([kind for kind in STRIKES if self.struck[kind] == least])

    @property
    def is_enough(self) -> bool:
        """Whether every kind has struck often enough."""
        return all(self.struck[kind] >= self.least for kind in STRIKES)


def kill_worker(soak: Soak, study: StruckStudy) -> None:
    """SIGKILL to a process that runs a trial."""
    soak.rng.choice(study.named(WORKER)).kill()


def pause_worker(soak: Soak, study: StruckStudy) -> None:
    """SIGSTOP, and SIGCONT a while later, to all processes that run trials."""
    _pause(study.named(WORKER))


def kill_raylet(soak: Soak, study: StruckStudy) -> None:
    """SIGKILL to Ray's raylet, without which no trial can run."""
    study.named("raylet")[0].kill()
    _end(soak, study, "that lost its raylet", (0, 1))


def kill_driver(soak: Soak, study: StruckStudy) -> None:
    """SIGKILL to the driver."""
    study.kill_driver()


def stop_driver(soak: Soak, study: StruckStudy) -> None:
    """SIGTERM to the driver."""
    study.driver.send_signal(signal.SIGTERM)
    _end(soak, study, "that was told to stop", (0, 130))


def damage_checkpoint(soak: Soak, study: StruckStudy) -> None:
    """SIGKILL to the trials' processes, and damage to the newest checkpoint before they return."""
    for worker in study.named(WORKER):
        worker.kill()
    path = newest_checkpoint(study.study)
    if path is not None:
        _damage(soak, path)


def damage_derived(soak: Soak, study: StruckStudy) -> None:
    """SIGTERM, and damage to a derived file before the study goes on."""
    stop_driver(soak, study)
    root = study.study.path
    scores = [path for path in root.glob("trials/*/scores/*.json") if _has_weights(path)]
    files = [*scores, *root.glob("*.csv"), *root.glob("plan.json"), *root.glob("anchors.json")]
    if files:
        _damage(soak, soak.rng.choice(sorted(files)))


def silence_mlflow(soak: Soak, study: StruckStudy) -> None:
    """MLflow's server stands still for a while."""
    _pause([soak.server, *soak.server.children(recursive=True)])


def lock_database(soak: Soak, study: StruckStudy) -> None:
    """The study's database is locked by another process for a while."""
    with contextlib.closing(sqlite3.connect(study.study.database, timeout=30)) as connection:
        connection.isolation_level = None
        connection.execute("begin exclusive")
        time.sleep(SILENT_S)
        connection.execute("rollback")


Strike = Callable[[Soak, StruckStudy], None]
STRIKES: dict[str, Strike] = {
    "SIGKILL to a worker": kill_worker,
    "workers stand still": pause_worker,
    "SIGKILL to the raylet": kill_raylet,
    "SIGKILL to the driver": kill_driver,
    "SIGTERM to the driver": stop_driver,
    "the newest checkpoint damaged": damage_checkpoint,
    "a derived file damaged": damage_derived,
    "MLflow silent": silence_mlflow,
    "the database locked": lock_database,
}


def _pause(processes: list[psutil.Process]) -> None:
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        time.sleep(SILENT_S if number == signal.SIGSTOP else 0)


def _end(soak: Soak, study: StruckStudy, what: str, codes: tuple[int, ...]) -> None:
    began = time.monotonic()
    try:
        code = study.end(STOP_S)
    except subprocess.TimeoutExpired:
        soak.differs(f"a driver {what} did not end in {STOP_S} s")
        study.kill_driver()
        return
    soak.say(f"the driver {what} ended after {time.monotonic() - began:.0f} s with {code}")
    if code not in codes:
        soak.differs(f"a driver {what} ended with exit code {code}")


def _has_weights(score: Path) -> bool:
    return (score.parents[1] / "training" / f"{score.stem}.safetensors").exists()


def _damage(soak: Soak, path: Path) -> None:
    """Cut a file, empty it, or flip one of its bits."""
    content = bytearray(path.read_bytes())
    how = soak.rng.choice(("cut", "emptied", "flipped in one bit"))
    place = soak.rng.randrange(max(1, len(content)))
    if how == "flipped in one bit" and path.suffix == ".safetensors":
        content[place] ^= 1 << soak.rng.randrange(8)
    else:
        del content[0 if how == "emptied" else place :]
    path.write_bytes(content)
    soak.say(f"{path.relative_to(path.parents[4])} was damaged ({how}, byte {place})")


def strike(soak: Soak, study: StruckStudy) -> bool:
    """Strike a study once, at a random moment of a random phase; return whether it still runs."""
    kind, phase = soak.next_kind(), soak.rng.choice(PHASES)
    deadline = time.monotonic() + 60
    while phase not in (now := study.phases()):
        if study.driver.poll() is not None:
            return False
        if now and time.monotonic() > deadline:
            phase = soak.rng.choice(sorted(now))  # the other phase is over
            break
        time.sleep(0.05)
    time.sleep(soak.rng.uniform(0, 0.5))
    if not study.named(WORKER):
        return study.driver.poll() is None
    soak.say(f"{study.name}: {kind}, in {phase}")
    with contextlib.suppress(psutil.NoSuchProcess):
        STRIKES[kind](soak, study)
        soak.struck[kind] += 1
    if study.driver.poll() is not None:
        study.start()
    return True


def soaked(soak: Soak, kind: str, number: int, calm: dict[str, Any]) -> None:
    """Run one study under strikes, and compare what comes out with the undisturbed one."""
    name = f"s{number}"
    folder = soak.folder / name
    folder.mkdir()
    options = (*OPTIONS[kind], "--tracking-uri", soak.tracking_uri)
    with running(StruckStudy(folder, *options, name=name)) as study:
        for _ in range(STRIKES_PER_STUDY):
            if not strike(soak, study):
                break
        code = study.end()
        if code != 0:
            soak.differs(f"{name} ended with exit code {code}: {study.said[-600:]}")
        if "Traceback" in study.said:
            soak.differs(f"{name} printed a stack trace, in {study.log}")
        if code == 0:
            compare(soak, kind, study, calm)
    soak.say(f"{name}, {kind}: ended, {len(soak.found)} differences so far")


def compare(soak: Soak, kind: str, study: StruckStudy, calm: dict[str, Any]) -> None:
    """Note what differs from the undisturbed study."""
    found, planned = outcome(study.study), list(range(1 + len(POINTS)))
    if kind == FIXED:
        for text in differences(found, calm):
            soak.differs(f"{study.name}: {text}")
    else:
        states = {value for key, value in found.items() if key.startswith("state of")}
        if found["trials"] != planned or not states <= {"COMPLETE", "PRUNED"}:
            soak.differs(f"{study.name}: trials {found['trials']} with states {states}")
        for key, value in found.items():
            scored = key.startswith(("score of", "weights of")) and "-s" not in key
            if scored and value != calm.get(key):
                soak.differs(f"{study.name}: {key}: {value} instead of {calm.get(key)}")
    tracked = tracked_trials(soak.folder / "mlflow.db", study.name)
    if tracked != [str(number) for number in planned]:
        soak.differs(f"{study.name}: MLflow has the trials {', '.join(tracked)}")


def calm_outcomes(soak: Soak) -> dict[str, dict[str, Any]]:
    """Run both kinds undisturbed; return what they found."""
    found = {}
    for kind, options in OPTIONS.items():
        audited = [] if kind == FIXED else ["--audit-fraction", "1"]
        name = "calm-fixed" if kind == FIXED else "calm-scheduled"
        calm = StruckStudy(soak.folder / "calm", *options, *audited, name=name)
        calm.folder.mkdir(exist_ok=True)
        with running(calm):
            assert calm.end() == 0, calm.said
        found[kind] = outcome(calm.study)
        soak.say(f"{name}: ended undisturbed, {len(found[kind])} entries to compare")
    return found


@contextlib.contextmanager
def tracking_server(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run an MLflow server over a database in a folder; yields its address and its process."""
    port = free_port()
    words = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--host", "127.0.0.1"]
    words += ["--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", *words, "--port", str(port)]
    with serving(command, port, folder / "server.log") as uri:
        children = psutil.Process().children()
        (server,) = [child for child in children if str(port) in child.cmdline()]
        yield uri, server


def main(argv: list[str]) -> int:
    """Soak for some minutes; return 1 if anything differed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--least", type=int, default=2, help="strikes of each kind")
    parser.add_argument("--keep", action="store_true", help="leave the studies' folder behind")
    args = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    with tracking_server(folder) as (uri, server):
        soak = Soak(random.Random(args.seed), folder, server, uri, args.least)
        calm = calm_outcomes(soak)
        number = 0
        while time.monotonic() - soak.began < 60 * args.minutes or not soak.is_enough:
            kind = (FIXED, SCHEDULED)[number % 2]
            soaked(soak, kind, number, calm[kind])
            number += 1
    for kind in STRIKES:
        print(f"{soak.struck[kind]:3}  {kind}")
    for text in soak.found:
        print(f"differs: {text}")
    print(f"{number} studies, {sum(soak.struck.values())} strikes, {len(soak.found)} differences")
    if args.keep or soak.found:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if soak.found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
