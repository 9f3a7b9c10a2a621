"""Several drivers on one study: whose trial is whose, and who takes the next one."""

import contextlib
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from diffrop.record.trial_state import DRIVER
from diffrop.storage import try_lock
from diffrop.study.config import StudyConfig

LOCK_WAIT_S = 2.0


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


def locked(path: Path | None) -> contextlib.AbstractContextManager[bool]:
    """Hold the lock of `PeerDrivers`, waiting a little for it, and say whether that worked.

    Who holds it may wait for a database that is away.
    """
    return contextlib.nullcontext(True) if path is None else try_lock(path, LOCK_WAIT_S)
