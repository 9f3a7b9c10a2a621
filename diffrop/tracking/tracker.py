"""The writes: one launch of a study and its trials, into MLflow."""

import functools
import json
import logging
import os
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from safetensors import SafetensorError

from diffrop.schema import require
from diffrop.tracking.files import CHECKPOINTS, SAMPLES, STATUSES, TrackedTrial, read_header
from diffrop.tracking.uri import bounded, checked_uri, hide, open_client, prepare_sqlite, redact

BACK_OFF_S = 30.0  # after a fault MLflow is left alone for so long
_MAX_TEXT_LENGTH = 6000  # of parameters; tags may have 8000
_UPLOAD_BYTES_PER_S = 5e6  # the slowest link that an upload's deadline allows for


class Tracker:
    """Mirrors one launch of a study into MLflow; for one thread of one process."""

    def __init__(
        self,
        tracking_uri: str,
        *,
        artifact_root: Path | None,
        experiment: str,
        launch: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        timeout_s: float = 5.0,
    ) -> None:
        """Open or create the experiment and the launch's run; a dead server is tried again later.

        Args:
            tracking_uri: see `ALLOWED_URIS`; an SQLite database is created or upgraded here.
            artifact_root: folder for a new experiment's artifacts, for databases only; an
                http server decides itself.
            experiment: name of the study.
            launch: name of the parent run; a launch of the same name is gone on with.
            params: of the parent run.
            tags: of the parent run.
            timeout_s: longest wait for an answer of the server; uploads get more by their size.

        Raises:
            ValueError: the URI is not allowed, its database cannot be written, `artifact_root` is
                missing, or `timeout_s` is not positive.
        """
        require(timeout_s > 0, "timeout_s", timeout_s, "more than 0")
        self._store_uri, self._timeout_s = checked_uri(tracking_uri, timeout_s), timeout_s
        is_server = self._store_uri.startswith("http")
        root = None if is_server else artifact_root
        allowed = "a folder, where tracking_uri is a database"
        require(is_server or root is not None, "artifact_root", root, allowed)
        self._artifact_uri = root.resolve().as_uri() if root else None
        self._shown_uri = redact(tracking_uri)
        self._hide = functools.partial(hide, uri=tracking_uri)
        self._experiment, self._launch = experiment, self._hide(launch)
        self._params, self._tags = params, tags
        self._parent_id = ""  # until connected, and after a fault until connected again
        self._children: dict[int, Run] = {}  # by trial, as of its last sync
        self._logged: defaultdict[str, set[Metric]] = defaultdict(set)  # by run, in this process
        self._missing: dict[str, tuple[str, Callable[[], None]]] = {}  # why, and how to retry
        self._warned: set[str] = set()
        self._retry_at = 0.0
        for name in ("alembic", "mlflow.store", "mlflow.tracking", "psycopg"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
        if self._store_uri.startswith("sqlite"):
            with bounded(timeout_s):
                prepare_sqlite(self._store_uri)
        self._attempt("the launch", lambda: None)

    def sync(self, trial: TrackedTrial) -> None:
        """Log what is new of a trial; a fault of MLflow or of a file is kept for `close`."""
        mark, known = trial.mark(), self._children.get(trial.number)
        if known is None or known.data.tags.get("diffrop.synced") != mark:
            self._attempt(f"trial {trial.number}", lambda: self._sync(trial, mark))

    def log_study_artifacts(self, paths: Sequence[Path]) -> None:
        """Upload files and folders onto the launch's run."""
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
        self._attempt("the launch", lambda: self._mlflow.set_terminated(self._parent_id, status))
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
                if not self._parent_id:
                    self._connect()
                action()
        except Exception as error:  # whatever it is, mirroring must not end a study
            reason = self._hide(" ".join(str(error).split()) or repr(error))[:300]
            self._missing[what] = reason, action
            topic = what if self._parent_id and _is_refusal(error) else "the server"
            if topic == "the server":
                self._retry_at = time.monotonic() + BACK_OFF_S
                self._parent_id = ""  # the request may have made a run all the same
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
    def _experiment_id(self) -> str:
        found = self._mlflow.get_experiment_by_name(self._experiment)
        if found:
            return found.experiment_id
        return self._mlflow.create_experiment(self._experiment, self._artifact_uri)

    def _connect(self) -> None:
        """List the trials' runs and open the launch's; end those that an earlier one left open.

        An earlier launch that still runs has lost its driver: a study has one at a time.
        """
        parent: Run | None = None
        children: dict[int, Run] = {}
        for run in self._runs():
            tags = run.data.tags
            if "diffrop.trial" in tags:
                children.setdefault(int(tags["diffrop.trial"]), run)
            elif parent is None and tags.get("diffrop.launch") == self._launch:
                parent = run
            elif parent is None and "diffrop.launch" in tags and run.info.status == "RUNNING":
                self._mlflow.update_run(run.info.run_id, "KILLED")  # no end: nobody knows when
        if parent is None:
            tags = {"diffrop.launch": self._launch}
            parent = self._mlflow.create_run(self._experiment_id, None, tags, self._launch)
        if parent.info.status != "RUNNING":
            self._mlflow.update_run(parent.info.run_id, "RUNNING")
        self._log(parent, self._params, self._tags)
        self._children, self._parent_id = children, parent.info.run_id

    def _runs(self, token: str | None = None) -> Iterator[Run]:
        """All runs of the experiment from a page on, oldest first."""
        ids, order = [self._experiment_id], ["attributes.start_time ASC"]
        page = self._mlflow.search_runs(ids, max_results=100, order_by=order, page_token=token)
        yield from page
        if page.token:
            yield from self._runs(page.token)

    def _sync(self, trial: TrackedTrial, mark: str) -> None:
        curves = trial.curve_metrics()
        run = self._children.get(trial.number) or self._create_child(trial, curves)
        run_id = run.info.run_id
        if run.data.tags.get("diffrop.synced") == mark:
            return
        said = {"state": trial.state, "message": trial.message}
        self._log(run, trial.params, said | dict(trial.tags), curves)
        self._set_status(run, trial, curves)
        self._log(run, {}, {}, trial.score_metrics())
        self._log_samples(run_id, trial)
        checkpoints = trial.files(CHECKPOINTS)
        if trial.state == "COMPLETE" and checkpoints:
            self._log_model(run, trial, checkpoints[-1])
        self._mlflow.set_tag(run_id, "diffrop.synced", mark)
        self._children[trial.number] = self._mlflow.get_run(run_id)
        if trial.state != "RUNNING":
            del self._logged[run_id]  # to save memory; should more come, the store drops doubles

    def _create_child(self, trial: TrackedTrial, curves: list[Metric]) -> Run:
        tags = {"mlflow.parentRunId": self._parent_id, "diffrop.trial": str(trial.number)}
        start = min((metric.timestamp for metric in curves), default=None)
        name = self._hide(trial.name)
        run = self._mlflow.create_run(self._experiment_id, start, tags, name)
        self._children[trial.number] = run
        return run

    def _set_status(self, run: Run, trial: TrackedTrial, curves: list[Metric]) -> None:
        status, name = STATUSES[trial.state], self._hide(trial.name)
        if (run.info.status, run.info.run_name) != (status, name):
            self._mlflow.update_run(run.info.run_id, status, name)
            if status != "RUNNING":
                end = max((metric.timestamp for metric in curves), default=None)
                self._mlflow.set_terminated(run.info.run_id, status, end)

    def _log(
        self,
        run: Run,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        metrics: Sequence[Metric] = (),
    ) -> None:
        """Log tags, parameters of new keys, for MLflow refuses to change one, and new metrics.

        A metric is new if this process has not logged it; the store drops what an earlier process
        has logged.
        """
        run_id = run.info.run_id
        known = self._logged[run_id]
        new = {key: value for key, value in params.items() if key not in run.data.params}
        fresh = [metric for metric in metrics if metric not in known]
        if new or tags or fresh:  # one transaction: a study of many trials has many
            self._mlflow.log_batch(
                run_id,
                metrics=fresh,
                params=[Param(*item) for item in self._texts(new).items()],
                tags=[RunTag(*item) for item in self._texts(tags).items()],
            )
            known.update(fresh)

    def _texts(self, values: Mapping[str, Any]) -> dict[str, str]:
        return {key: self._hide(str(value))[:_MAX_TEXT_LENGTH] for key, value in values.items()}

    def _log_samples(self, run_id: str, trial: TrackedTrial) -> None:
        files = trial.files(SAMPLES)
        found = self._mlflow.list_artifacts(run_id, "samples") if files else []
        sizes = {Path(item.path).name: item.file_size for item in found}
        if files and not found:
            with self._time_for(files[0].parent):
                self._mlflow.log_artifacts(run_id, str(files[0].parent), "samples")
            return
        for path in files:
            if sizes.get(path.name) != path.stat().st_size:
                self._upload(path, run_id, "samples")

    def _upload(self, path: Path, run_id: str = "", folder: str | None = None) -> None:
        """Upload a file or folder onto a run; by default, the launch's."""
        if not path.exists():
            raise ValueError(f"{path} does not exist")
        with self._time_for(path):
            self._mlflow.log_artifact(run_id or self._parent_id, str(path), folder)

    def _time_for(self, path: Path) -> AbstractContextManager[None]:
        size = sum(file.stat().st_size for file in [path, *path.rglob("*")])
        return bounded(self._timeout_s + size / _UPLOAD_BYTES_PER_S)

    def _log_model(self, run: Run, trial: TrackedTrial, checkpoint: Path) -> None:
        """Have one logged model, finalized, for the checkpoint, found by its SHA-256."""
        run_id = run.info.run_id
        card_text, sha256 = read_header(checkpoint)
        card = json.loads(card_text)
        of_run = f"source_run_id = '{run_id}'"
        found = self._mlflow.search_logged_models([self._experiment_id], of_run)
        model = next((model for model in found if model.tags.get("sha256") == sha256), None)
        if model is None:
            number, images = trial.number, card["images_seen"]
            tags = {"diffrop.trial": str(number), "images_seen": str(images), "sha256": sha256}
            params = self._texts({**trial.tags, **trial.params})
            model = self._mlflow.create_logged_model(
                self._experiment_id, f"t{number:03d}", run_id, tags, params, "diffusion"
            )
        if model.status == LoggedModelStatus.READY:
            return
        with tempfile.TemporaryDirectory() as folder, self._time_for(checkpoint):
            path = Path(folder) / "card.json"
            path.write_text(self._hide(card_text), encoding="utf-8")
            self._mlflow.log_model_artifact(model.model_id, str(path))
            self._mlflow.log_model_artifact(model.model_id, str(checkpoint))
        digest = card["data_digest"][:12]
        self._log(run, {}, {}, trial.model_metrics(model.model_id, digest))
        outputs = self._mlflow.get_run(run_id).outputs
        linked = [output.model_id for output in outputs.model_outputs] if outputs else []
        if model.model_id not in linked:  # MLflow would keep doubles
            output = LoggedModelOutput(model.model_id, card["images_seen"])
            self._mlflow.log_outputs(run_id, [output])
        self._mlflow.finalize_logged_model(model.model_id, "READY")


def _is_refusal(error: Exception) -> bool:
    """Whether the fault lies in one trial's data, so that other trials can go on."""
    if isinstance(error, MlflowException):
        return bool(error.get_http_status_code() == 400)
    return isinstance(error, KeyError | TypeError | ValueError | SafetensorError)
