"""Several drivers on one study: whose trial is whose, and who takes the next one."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from diffrop.record.trial_state import DRIVER
from diffrop.storage import try_lock
from diffrop.study.config import StudyConfig

LOCK_WAIT_S, LOCK_POLL_S = 2.0, 0.02


@dataclass(frozen=True)
class PeerDrivers:
    """What a driver knows of the others that may work on its study."""

    driver: str = "driver"
    """This driver's name."""
    alive: Callable[[str], bool] = lambda driver: False
    """Whether another driver still runs; the trials of one that does not are taken over."""
    lock: Path | None = None
    """A file that drivers lock while they take a trial; None where there is one driver."""


def unfinished(
    trials: Sequence[FrozenTrial], peers: PeerDrivers, mine: AbstractSet[int]
) -> list[FrozenTrial]:
    """Return the trials that have not ended and that nobody runs; this driver runs `mine`."""
    return [
        trial
        for trial in trials
        if not trial.state.is_finished()
        and trial.number not in mine
        and not _is_held(trial, peers)
    ]


def known_drivers(study: optuna.Study) -> set[str]:
    """Return the names of the drivers that run a study's trials, or ran them last."""
    drivers = {trial.user_attrs.get(DRIVER) for trial in study.get_trials(deepcopy=False)}
    return {driver for driver in drivers if driver}


def num_remaining(study: optuna.Study, config: StudyConfig) -> int:
    """Return how many trials of a study have not ended, whoever runs them, or have not begun."""
    trials = study.get_trials(deepcopy=False)
    running = sum(not trial.state.is_finished() for trial in trials)
    return running + max(0, config.num_trials - len(trials))


def _is_held(trial: FrozenTrial, peers: PeerDrivers) -> bool:
    driver = trial.user_attrs.get(DRIVER)
    return driver is not None and driver != peers.driver and peers.alive(driver)


@contextlib.contextmanager
def locked(path: Path | None) -> Iterator[bool]:
    """Hold a file's lock, waiting a little for it, and say whether that worked.

    The system frees it if the process dies. Who holds it may wait for a database that is away.
    """
    if path is None:
        yield True
        return
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        with try_lock(path) as held:
            if held or time.monotonic() > until:
                yield held
                return
        time.sleep(LOCK_POLL_S)
