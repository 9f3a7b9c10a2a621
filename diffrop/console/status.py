"""How a study stands, read from its folder and database alone: it locks and changes nothing."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from diffrop.console.screens import scoring_line
from diffrop.console.tables import Column, fitted_table, number, plain_table
from diffrop.console.terminal import TABLE_WIDTH
from diffrop.edge import described
from diffrop.engine.drivers import Drivers
from diffrop.engine.preparing import Preparing
from diffrop.engine.progress import Progress, TrialProgress, progress_of
from diffrop.errors import StudyError
from diffrop.record.codec import encode
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.cost import CostRecord, PlannedCost
from diffrop.record.json_files import read_record
from diffrop.record.next_step import resume_command
from diffrop.record.result_reader import ResultReader
from diffrop.record.settings import read_settings
from diffrop.record.study_folder import prepared_names, study_names
from diffrop.record.study_store import StudyStore
from diffrop.record.trial_folder import TrialFolder

MOST_ROWS = 30


@dataclass(frozen=True, kw_only=True)
class NewStudyStatus:
    """How a study stands that has no configuration yet."""

    study: str
    state: str
    """preparing; stopped: what prepared it was killed."""
    preparing: list[str]
    """What is being done."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        found: dict[str, Any] = encode(self)
        return found


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """How a study stands."""

    progress: Progress
    state: str
    """running; preparing; finished: nothing is left to do; stopped: something is, and nobody does
    it."""
    preparing: list[str]
    """What processes that prepare it are doing."""
    drivers: dict[str, bool]
    """Whether each that has not left is alive; one that is not was killed, or its machine."""
    silent_s: dict[int, float | None]
    """By trial: since its last sign of life; None before the first."""
    hours: float
    """Spent, in hours of GPUs, or of workers without GPUs."""
    planned: PlannedCost | None
    num_confirming: tuple[int, int]
    """Trainings with fresh seeds that have begun, and those that are scored."""
    confirmed: str
    """The conclusion of a confirmation; empty without one."""
    resume: str
    """What to type to go on."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        found: dict[str, Any] = encode(self)
        return found


def study_status(store: StudyStore, storage: str | None = None) -> StudyStatus | NewStudyStatus:
    """Read how a study stands.

    Args:
        store: its folder.
        storage: URL of its Optuna database; None is SQLite in the folder.

    Raises:
        StudyError: it is no study of ours, or its database cannot be read.
        ValueError: its configuration cannot be read.
    """
    preparing = [each.text for each in Preparing(store.folder).activities()]
    if not store.folder.config.exists():
        if store.folder.preparing.exists():
            state = "preparing" if Preparing(store.folder).others() else "stopped"
            return NewStudyStatus(study=store.name, state=state, preparing=preparing)
        known = ", ".join(study_names(store.path.parent)) or "none"
        raise StudyError(f"{store.path} is no study; studies there: {known}")
    config = store.read_config()
    command = str(read_settings(store.folder).get("command", ""))
    with store.open_read_only(storage) as study:
        reader = ResultReader(study, store.folder, config)
        result = reader.read()
    running = [trial for trial in result.trials if trial.state == "RUNNING"]
    progress = progress_of(result, max(1, len(running)))
    drivers = Drivers(store.folder.drivers)
    known_drivers = {name: drivers.alive(name) for name in drivers.names()}
    cost = read_record(store.folder.cost, CostRecord)
    reader.account.add_retrainings()
    confirmation = read_record(store.folder.confirmation, ConfirmationRecord)
    again = store.folder.retrainings()
    left = progress.num_ended < progress.num_trials or bool(confirmation and confirmation.num_left)
    state = "stopped" if left else "finished"
    if preparing:
        state = "preparing"
    if any(known_drivers.values()):
        state, preparing = "running", []
    return StudyStatus(
        progress=progress,
        state=state,
        preparing=preparing,
        drivers=known_drivers,
        silent_s={trial.number: _silence(TrialFolder(trial.directory)) for trial in result.trials},
        hours=reader.account.hours,
        planned=cost.plan if cost else None,
        num_confirming=(len(again), sum(len(one.score_files()) for one in again)),
        confirmed=confirmation.conclusion if confirmation else "",
        resume=resume_command(command, store.name),
    )


def _silence(trial: TrialFolder) -> float | None:
    times = []
    for path in trial.signs_of_life():
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(0.0, time.time() - max(times)) if times else None


def status_lines(status: StudyStatus) -> list[str]:
    """Return what is above and below the table of trials, at 80 columns once wrapped."""
    progress = status.progress
    alive = sum(status.drivers.values())
    gone = [name for name, lives in status.drivers.items() if not lives]
    drivers = f"{alive} driver(s) alive" + (
        f", gone without a word: {', '.join(gone)}" if gone else ""
    )
    lines = [f"Study {progress.study} is {status.state}: {summary(status)}; {drivers}."]
    if status.state == "running":
        running = [trial for trial in progress.trainings if trial.state == "RUNNING"]
        lines += [line for trial in running if (line := scoring_line(trial))]
    spent = f"Spent: {status.hours:.3g} hours"
    if plan := status.planned:
        unit = "GPU" if plan.on_gpu else "worker"
        spent += f" of {unit}s, of {plan.hours:.3g} planned"
        limits = {"hours": plan.budget_hours, "s": plan.budget_wall_s}
        given = [f"{limit:g} {name}" for name, limit in limits.items() if limit is not None]
        spent += f"; budget {', '.join(given)}" if given else ""
    lines.append(f"{spent}.")
    if status.num_confirming[0]:
        begun, scored = status.num_confirming
        lines.append(f"Confirmation: {scored} of {begun} trainings with fresh seeds are scored.")
    if status.confirmed:
        lines.append(f"Confirmed: {status.confirmed}")
    if status.state == "stopped":
        lines.append(f"Go on with: {status.resume}")
    return lines


def new_study_lines(status: NewStudyStatus) -> list[str]:
    """Return how a study stands that has no configuration yet."""
    lines = [f"Study {status.study} is {status.state}: {summary(status)}."]
    if status.state == "stopped":
        lines.append("Start it again by the same command; what is left of it gives way.")
    return lines


def summary(status: StudyStatus | NewStudyStatus) -> str:
    """Return trials, best, and the time left of a study that runs; or what is being prepared."""
    if status.preparing:
        return "; ".join(status.preparing)
    if isinstance(status, NewStudyStatus):
        begun = status.state == "preparing"
        return "it has just begun" if begun else "it was killed while it prepared"
    line = status.progress.line
    return line if status.state == "running" else line.rpartition(" | ")[0]


def trials_table(status: StudyStatus, width: int = TABLE_WIDTH) -> Table:
    """Return the trials: those that run, then the others, the best first.

    Args:
        status: of the study.
        width: columns of characters that there are; columns give way where they do not fit.
    """
    progress = status.progress
    rows = sorted(progress.trials, key=_order)
    shown = rows[:MOST_ROWS]
    running = [trial.state == "RUNNING" for trial in shown]
    unfinished = status.state != "running"
    states = [
        "unfinished" if runs and unfinished else trial.state
        for trial, runs in zip(shown, running, strict=True)
    ]
    silent = [
        ago(status.silent_s[trial.number]) if runs else ""
        for trial, runs in zip(shown, running, strict=True)
    ]
    columns = [
        Column("trial", [trial.label for trial in shown], 9, is_text=True),
        Column("state", states, 8, is_text=True),
        Column("form", [trial.form for trial in shown], 4, is_text=True),
        Column("images", [f"{trial.images_seen / progress.images:.0%}" for trial in shown], 6),
        Column("img/s", [number(trial.images_per_s, ",.0f") for trial in shown], 2),
        Column("loss", [number(trial.loss, ".4f") for trial in shown], 2),
        Column("pcl ratio", [number(trial.grad_ratio, ".2g") for trial in shown], 1),
        Column(progress.objective, [number(trial.score, ".2f") for trial in shown], 7),
        Column("N", [number(trial.num_samples, ",") for trial in shown], 5),
        Column("silent", silent, 3),
    ]
    if len(rows) > MOST_ROWS:
        first, *others = columns
        first.cells.append(f"{len(rows) - MOST_ROWS} more")
        for column in others:
            column.cells.append("")
    return fitted_table(columns, width)[0]


def _order(trial: TrialProgress) -> tuple[int, float, int]:
    group = {"RUNNING": 0, "COMPLETE": 1, "PRUNED": 2}.get(trial.state, 3)
    return group, trial.score if trial.score is not None and group == 1 else 0.0, trial.number


def ago(seconds: float | None) -> str:
    """Return how long ago something was."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def all_statuses(
    runs_root: Path, storage: str | None = None
) -> dict[str, StudyStatus | NewStudyStatus | str]:
    """Return how each study of a runs folder stands, or in one sentence why that is unknown.

    Args:
        runs_root: folder of all studies.
        storage: of those that have no database in their folder.
    """
    found: dict[str, StudyStatus | NewStudyStatus | str] = {}
    for name in sorted({*study_names(runs_root), *prepared_names(runs_root)}):
        store = StudyStore(runs_root, name)
        try:
            found[name] = study_status(store, None if store.folder.database.exists() else storage)
        except Exception as error:  # whatever is wrong with one, the others are shown
            found[name] = described(error)[1]
    return found


def studies_table(statuses: Mapping[str, StudyStatus | NewStudyStatus | str]) -> Table:
    """Return the studies of a runs folder, a line each; damaged ones say so."""
    table = plain_table(2)
    table.add_column("study", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("trials, best, and the time left", overflow="fold")
    for name, status in statuses.items():
        if isinstance(status, str):
            table.add_row(name, "unreadable", status)
        else:
            table.add_row(name, status.state, summary(status))
    return table
