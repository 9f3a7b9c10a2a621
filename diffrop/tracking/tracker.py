"""The writes: one launch of a study and its trials, into MLflow."""

import functools
import logging
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from diffrop.errors import CheckpointError, DiffropError, NewerFormatError, StudyError
from diffrop.record.names import parse_label, trial_label
from diffrop.record.study_folder import StudyFolder
from diffrop.redaction import hide, redact, storable
from diffrop.schema import require
from diffrop.tracking.client import bounded, open_client
from diffrop.tracking.confirmation import ConfirmedTrial
from diffrop.tracking.experiment import (
    CONFIRMED,
    LAUNCH,
    LAUNCHED_BY,
    RETRAINING,
    STUDY,
    TRIAL,
    experiment_of,
    own_runs,
)
from diffrop.tracking.mlflow_private import NOTE, PARENT_RUN
from diffrop.tracking.record_files import REPORT, study_files, study_record, trial_record
from diffrop.tracking.runs import NO_RUN, RunState, RunWriter, kind_of, kind_of_confirmation
from diffrop.tracking.study import study_note
from diffrop.tracking.tracked_trial import LoggedState, Stamp, TrackedTrial, stamp
from diffrop.tracking.uri import check_database_file, checked_uri

BACK_OFF_S = 30.0  # after a fault MLflow is left alone for so long


class Tracker:
    """Mirrors one launch of a study into MLflow; for one thread of one process."""

    def __init__(
        self,
        tracking_uri: str,
        *,
        artifact_root: Path | None,
        experiment: str,
        token: str,
        launch: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        experiment_tags: Mapping[str, str] | None = None,
        driver: str = "",
        known_drivers: AbstractSet[str] = frozenset(),
        alive: Callable[[str], bool] | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        """Open or create the experiment and the launch's run; a dead server is tried again later.

        Args:
            tracking_uri: see `ALLOWED_URIS`; an SQLite database is created or upgraded.
            artifact_root: folder for a new experiment's artifacts, for databases only; an
                http server decides itself.
            experiment: name of the study.
            token: what tells the study from others of its name; see `diffrop.record.identity`.
            launch: name of the parent run; a launch of the same name and driver is gone on with.
            params: of the parent run.
            tags: of the parent run.
            experiment_tags: such as `saved_views`.
            driver: name of the process whose launch it is.
            known_drivers: those that the study's record names; see `diffrop.tracking.experiment`.
            alive: whether another driver runs, whose launch then goes on; None where there can be
                no other.
            timeout_s: longest wait for an answer of the server; uploads get more by their size.

        Raises:
            ValueError: the URI is not allowed, its file is no database or cannot be written,
                `artifact_root` is missing, or `timeout_s` is not positive.
        """
        require(timeout_s > 0, "timeout_s", timeout_s, "more than 0")
        self._store_uri, self._timeout_s = checked_uri(tracking_uri, timeout_s), timeout_s
        is_server = self._store_uri.startswith("http")
        root = None if is_server else artifact_root
        allowed = "a folder, where tracking_uri is a database"
        require(is_server or root is not None, "artifact_root", root, allowed)
        self._artifact_uri = root.resolve().as_uri() if root else None
        self._shown_uri = redact(tracking_uri)
        self._hide = lambda text: storable(hide(text, tracking_uri))
        self._experiment, self._token, self._known_drivers = experiment, token, known_drivers
        self._launch = self._hide(launch)
        self._params, self._tags, self._experiment_tags = params, tags, experiment_tags or {}
        self._driver, self._alive = driver, alive
        self._parent = NO_RUN  # until connected, and after a fault until connected again
        self._children: dict[str, RunState] = {}  # by the trial's label
        self._confirmations: dict[int, RunState] = {}  # by the trial's number
        self._summed: dict[Path, Stamp] = {}  # the study's files that its description is of
        self._missing: dict[str, tuple[str, Callable[[], None]]] = {}  # why, and how to retry
        self._warned: set[str] = set()
        self._retry_at = 0.0
        for name in ("alembic", "mlflow.store", "mlflow.tracking", "psycopg"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
        check_database_file(self._store_uri)
        self._attempt("the launch", lambda: None)

    def sync(self, trial: TrackedTrial) -> bool:
        """Log what is new of a trial; a fault of MLflow or of a file is kept for `close`.

        Of a trial that has ended and was synced, nothing more is expected before `close`.

        Returns:
            whether all of it is in MLflow.
        """
        child = self._children.get(trial.label)
        if child is None or not trial.ended or child.synced != trial:
            self._look_at(trial)
            child = self._children.get(trial.label)
        return child is not None and child.synced == trial

    def _look_at(self, trial: TrackedTrial) -> None:
        mark, child = trial.mark(), self._children.get(trial.label)
        if child is None or child.mark != mark or not self._is_placed(child, trial):
            what = f"trial {trial.number}" if trial.seed is None else f"retraining {trial.label}"
            self._attempt(what, lambda: self._sync(trial, mark))
        else:
            child.synced = trial

    def _is_placed(self, run: RunState, trial: TrackedTrial) -> bool:
        """Whether a run stands where this version has it: no trial, but each retraining, below."""
        parent_id = run.tags.get(PARENT_RUN)
        if trial.seed is None:
            return parent_id is None
        together = self._confirmations.get(trial.number)
        return together is not None and parent_id == together.run_id

    def log_study(self, folder: StudyFolder) -> None:
        """Log what is new in a study's folder of the whole study, as it stands now.

        Costs, agreement of the rungs and conclusions become the description of the launch's run,
        the confirmation's differences metrics of the confirmed trials' runs; the tables and
        records, and what is stored of the trainings that trials fork from, become artifacts.
        """
        seen = {path: stamp(path) for path in study_files(folder) if path.exists()}
        if seen != self._summed:
            self._attempt("the study's summary", lambda: self._log_summary(folder, seen))
        self._attempt(
            "the study's record",
            lambda: self._writer.log_record(self._parent, study_record(folder)),
        )

    def log_report(self, paths: Sequence[Path]) -> None:
        """Upload the report and the folder of its figures onto the launch's run."""
        for path in paths:
            self._attempt(f"the artifact {path}", functools.partial(self._upload, path))

    def close(self, status: str) -> list[str]:
        """Retry once what is not in MLflow, end the launch's run, and say what is missing.

        Args:
            status: "FINISHED", "FAILED" or "KILLED".

        Returns:
            One sentence for each thing that is not completely in MLflow.

        Raises:
            ValueError: the status is none of these.
        """
        allowed = ("FINISHED", "FAILED", "KILLED")
        require(status in allowed, "status", status, ", ".join(allowed))
        self._retry_at = 0.0
        for what, (_, action) in list(self._missing.items()):
            self._attempt(what, action)
        for trial in [child.synced for child in self._children.values() if child.synced]:
            self._look_at(trial)  # a worker may have written on while its trial was stopped
            if not trial.ended:
                what = f"the record of {trial.label}"
                self._attempt(what, functools.partial(self._log_record, trial))
        self._attempt("the launch", lambda: self._end(status))
        return self.missing()

    def missing(self) -> list[str]:
        """Return one sentence for each thing that is not completely in MLflow."""
        return [
            f"{what} is not completely in MLflow at {self._shown_uri}: {reason}"
            for what, (reason, _) in self._missing.items()
        ]

    def _attempt(self, what: str, action: Callable[[], None]) -> None:
        """Run `action`, connected, unless MLflow is being left alone; note a fault of `what`."""
        if time.monotonic() < self._retry_at:
            reason, _ = self._missing.get(what, ("MLflow did not answer earlier", None))
            self._missing[what] = reason, action
            return
        try:
            with bounded(self._timeout_s):
                if self._parent is NO_RUN:
                    self._connect()
                action()
        except Exception as error:  # whatever it is, mirroring must not end a study
            reason = self._hide(" ".join(str(error).split()) or repr(error))
            if not isinstance(error, DiffropError):  # ours are one sentence, which says what to do
                reason = reason[:300]
            self._missing[what] = reason, action
            connected = self._parent is not NO_RUN
            topic = what if connected and _is_refusal(error) else "the server"
            if topic == "the server":
                self._retry_at = time.monotonic() + BACK_OFF_S
                self._parent = NO_RUN  # the request may have made a run all the same
            if topic not in self._warned:
                self._warned.add(topic)
                message = f"cannot log {what} to MLflow at {self._shown_uri}: {reason}; nothing "
                message += "is lost, since all results lie on disk and are synced later"
                warnings.warn(message, stacklevel=3)
        else:
            self._missing.pop(what, None)

    @functools.cached_property
    def _mlflow(self) -> MlflowClient:
        return open_client(self._store_uri)

    @functools.cached_property
    def _writer(self) -> RunWriter:
        return RunWriter(
            self._mlflow, self._experiment_id, self._token, self._hide, self._timeout_s
        )

    @functools.cached_property
    def _experiment_id(self) -> str:
        found = experiment_of(
            self._mlflow, self._experiment, self._token, self._artifact_uri, self._known_drivers
        )
        if found.name != self._experiment:
            warnings.warn(
                f"MLflow at {self._shown_uri} keeps this {self._experiment!r} apart from others "
                f"of its name, in the experiment {found.name!r}",
                stacklevel=3,
            )
        return found.experiment_id

    def _connect(self) -> None:
        """List the trials' runs and open the launch's; end earlier ones whose driver is gone."""
        own = {STUDY: self._token, LAUNCH: self._launch, LAUNCHED_BY: self._driver}
        parent: Run | None = None
        children: dict[str, RunState] = {}
        confirmations: dict[int, RunState] = {}
        for run in own_runs(self._mlflow, self._experiment_id, self._token, self._known_drivers):
            tags = run.data.tags
            if TRIAL in tags:
                label = trial_label(int(tags[TRIAL]))
                children.setdefault(label, RunState.of(run))
            elif RETRAINING in tags:
                children.setdefault(tags[RETRAINING], RunState.of(run))
            elif CONFIRMED in tags:
                confirmations.setdefault(int(tags[CONFIRMED]), RunState.of(run))
            elif parent is None and tags.items() >= own.items():
                parent = run
            elif parent is None and self._was_left_open(run):
                self._mlflow.update_run(run.info.run_id, "KILLED")  # no end: nobody knows when
        if parent is None:
            parent = self._mlflow.create_run(self._experiment_id, None, own, self._launch)
        if parent.info.status != "RUNNING":
            self._mlflow.update_run(parent.info.run_id, "RUNNING")
        for key, value in self._experiment_tags.items():
            self._mlflow.set_experiment_tag(self._experiment_id, key, value)
        opened = RunState.of(parent)
        self._writer.log(opened, [], self._params, self._tags)
        self._children, self._confirmations, self._parent = children, confirmations, opened

    def _was_left_open(self, run: Run) -> bool:
        """Whether it is a launch that never ended, and whose driver is gone."""
        tags = run.data.tags
        is_open = LAUNCH in tags and run.info.status == "RUNNING"
        return is_open and not (self._alive and self._alive(tags.get(LAUNCHED_BY, "")))

    def _sync(self, trial: TrackedTrial, mark: str) -> None:
        run = self._children.get(trial.label) or self._run_of(
            kind_of(trial), trial.name, trial.new_curves(LoggedState())[1].started_ms
        )
        self._children[trial.label] = run
        together = None if trial.seed is None else self._confirmation_of(trial)
        self._writer.place(run, together.run_id if together else None)
        if run.mark != mark:
            self._writer.write(run, trial, mark)
        if together is not None:
            self._log_confirmation(trial.study, trial.number)
        run.synced = trial

    def _run_of(self, kind: Mapping[str, str], name: str, started_ms: int | None) -> RunState:
        """Return a run that this process does not know yet: another driver may have begun it."""
        found = self._writer.find(kind) if self._alive else None
        return found or self._writer.create(kind, name, started_ms)

    def _confirmation_of(self, retraining: TrackedTrial) -> RunState:
        """Return the run of all retrainings of a trial, made with the first of them."""
        number = retraining.number
        if number not in self._confirmations:
            name = retraining.name.replace(retraining.label, trial_label(number), 1)
            run = self._run_of(kind_of_confirmation(number), f"{name}, fresh seeds", None)
            self._writer.log(run, [], retraining.params, retraining.tags)
            self._confirmations[number] = run
        return self._confirmations[number]

    def _log_confirmation(self, folder: StudyFolder, number: int) -> None:
        """Write what the retrainings of a trial say together, if MLflow knows of them."""
        known = [parse_label(label) for label in self._children]
        seeds = [
            self._children[trial_label(*label)]
            for label in known
            if label is not None and label[0] == number and label[1] is not None
        ]
        confirmed = ConfirmedTrial.read(folder, number)
        self._writer.write_confirmation(self._confirmations[number], confirmed, seeds)

    def _end(self, status: str) -> None:
        self._mlflow.set_terminated(self._parent.run_id, status)

    def _log_record(self, trial: TrackedTrial) -> None:
        """Upload what is stored of a trial so far."""
        self._writer.log_record(self._children[trial.label], trial_record(trial.folder))

    def _log_summary(self, folder: StudyFolder, seen: dict[Path, Stamp]) -> None:
        self._writer.log(self._parent, [], {}, {NOTE: study_note(folder)})
        for number in self._confirmations:
            self._log_confirmation(folder, number)
        self._summed = seen

    def _upload(self, path: Path) -> None:
        """Upload a file or folder onto the launch's run."""
        if not path.exists():
            raise ValueError(f"{path} does not exist")
        with self._writer.time_for(path):
            self._mlflow.log_artifact(self._parent.run_id, str(path), REPORT)


def _is_refusal(error: Exception) -> bool:
    """Whether the fault lies in one trial's data, so that other trials can go on."""
    if isinstance(error, MlflowException):
        return bool(error.get_http_status_code() == 400)
    damaged = KeyError | TypeError | ValueError | CheckpointError | StudyError | NewerFormatError
    return isinstance(error, damaged)
