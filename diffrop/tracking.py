"""MLflow, mirroring what already lies on disk; the only mlflow import.

One `Tracker`, in the driver of a study, writes; trials write nothing but files. So a sync can be
repeated at any time, by any later process, and a dead server costs no more than a later sync.

In MLflow: experiment = study; parent run = one launch of it; child run = one trial (tag
`diffrop.trial`); logged model = the newest checkpoint of a finished trial. Metrics of a trial:

- every key of `metrics.jsonl`, and of the scores at their best omega (`fid/few`, ..., `omega`,
  `score`, `num_samples/few`), at step = images seen;
- `omega_curve/<score>` at step = omega in thousandths, of the newest score file, once that is
  final or the trial has ended (MLflow cannot take a metric back);
- `fid` of the logged model, once per data set `all`, `many`, `medium`, `few`. MLflow shows these
  four on the trial's run too; their timestamps differ by 1 ms, see `_model_metrics`.
"""

import functools
import hashlib
import importlib.util
import json
import logging
import math
import re
import shlex
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import sqlalchemy
from mlflow import MlflowClient, environment_variables
from mlflow.entities import (
    Dataset,
    DatasetInput,
    LoggedModel,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunTag,
)
from mlflow.exceptions import MlflowException
from safetensors import SafetensorError, safe_open

from diffrop.config import require

STATUSES = {"RUNNING": "RUNNING", "COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
"""MLflow's run status for each state of a trial."""
SHOT_GROUPS = ("all", "many", "medium", "few")
BACK_OFF_S = 30.0
"""After a fault MLflow is left alone for so long."""
ALLOWED_URIS = "sqlite:////absolute/path.db, http(s)://host:port or postgresql://user@host/name"

_MAX_PARAM_LENGTH = 6000
_MAX_TAG_LENGTH = 8000
_UPLOAD_BYTES_PER_S = 5e6  # the slowest link that an upload's deadline allows for
_NOISY_LOGGERS = ("alembic", "mlflow.store", "mlflow.tracking", "psycopg")
_QUERY_SECRET = re.compile(r"([?&][^=&]*(?:pass|pwd|token|secret|key)[^=&]*=)([^&\s]+)", re.I)


@dataclass(frozen=True, kw_only=True)
class TrackedTrial:
    """A trial as it stands now; its numbers and images are read from its directory."""

    number: int
    name: str
    """Name of its run: "t007 reciprocal tau_0=3.2"."""
    directory: Path
    state: str
    """A key of `STATUSES`."""
    params: Mapping[str, Any]
    """Dotted configuration keys; MLflow keeps the values that it is given first."""
    tags: Mapping[str, str]
    message: str = ""
    """Why it failed, or at which rung it was pruned."""

    def __post_init__(self) -> None:
        """Refuse unknown states."""
        require(self.state in STATUSES, "state", self.state, ", ".join(STATUSES))

    def files(self, pattern: str) -> list[Path]:
        """Return the files of its directory that match, sorted by name."""
        return sorted(self.directory.glob(pattern))


@dataclass(kw_only=True)
class _ChildRun:
    """What is known to be in MLflow of one trial."""

    run_id: str
    name: str
    status: str
    params: set[str]
    mark: str
    """Fingerprint of the trial when it was last mirrored in full."""
    metrics: set[Metric] = field(default_factory=set)
    samples: dict[str, int | None] | None = None
    """Size by file name; None until asked."""


def redact(uri: str) -> str:
    """Return a URI with `***` in the place of credentials, also of malformed ones.

    Everything up to the last @ goes, since a password may hold any unescaped character.
    """
    if not uri.lower().startswith(("sqlite:", "file:")):
        uri = re.sub(r"://.*@", "://***@", uri, flags=re.DOTALL)
    return _QUERY_SECRET.sub(r"\1***", uri)


def ui_command(tracking_uri: str) -> str:
    """Return the shell command that shows what was tracked, without credentials."""
    uri = redact(tracking_uri)
    if uri.startswith(("http://", "https://")):
        return f"open {shlex.quote(uri)}"
    quoted = "'" + uri.replace("'", "'\"'\"'") + "'"
    return f"mlflow ui --backend-store-uri {quoted} --host 127.0.0.1"


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
        self._uri = tracking_uri
        self._store_uri = _checked_uri(tracking_uri, timeout_s)
        is_server = self._store_uri.startswith("http")
        root = None if is_server else artifact_root
        allowed = "a folder, where tracking_uri is a database"
        require(is_server or root is not None, "artifact_root", root, allowed)
        self._artifact_uri = root.resolve().as_uri() if root else None
        self._experiment, self._launch = experiment, self._clean(launch)
        self._params, self._tags, self._timeout_s = dict(params), dict(tags), timeout_s
        self._trials: dict[int, TrackedTrial] = {}
        self._study_files: dict[Path, str] = {}
        self._children: dict[int, _ChildRun] = {}
        self._client: MlflowClient | None = None
        self._experiment_id = self._parent_id = ""
        self._listed = False
        self._retry_at = 0.0
        self._missing: dict[str, str] = {}
        self._warned: set[str] = set()
        for name in _NOISY_LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        environment_variables.MLFLOW_ALLOW_PICKLE_DESERIALIZATION.set("false")
        if self._store_uri.startswith("sqlite"):
            with _bounded(timeout_s):
                self._client = _sqlite_client(self._store_uri)
        self._attempt("the launch", lambda: None)

    def sync(self, trial: TrackedTrial) -> None:
        """Log what is new of a trial; a fault of MLflow or of a file is kept for `close`."""
        self._trials[trial.number] = trial
        mark = _fingerprint(_watched(trial), trial)
        known = self._children.get(trial.number)
        if known is None or known.mark != mark:
            self._attempt(f"trial {trial.number}", lambda: self._sync(trial, mark))

    def log_study_artifacts(self, paths: Sequence[Path]) -> None:
        """Upload files and folders that are new or changed, onto the launch's run."""
        for path in paths:
            self._study_files.setdefault(path, "")
            mark = _fingerprint([path, *path.rglob("*")])
            if self._study_files[path] != mark:
                upload = functools.partial(self._upload_study_file, path, mark)
                self._attempt(f"the artifact {path}", upload)

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
        for trial in self._trials.values():
            self.sync(trial)
        self.log_study_artifacts(list(self._study_files))
        self._attempt("the launch", lambda: self._mlflow.set_terminated(self._parent_id, status))
        return [
            f"{what} is not completely in MLflow at {redact(self._uri)}: {reason}"
            for what, reason in self._missing.items()
        ]

    @property
    def _mlflow(self) -> MlflowClient:
        assert self._client is not None, "used before _connect"
        return self._client

    def _attempt(self, what: str, action: Callable[[], None]) -> None:
        """Run `action`, connected, unless MLflow is being left alone; note a fault of `what`."""
        if time.monotonic() < self._retry_at:
            self._missing.setdefault(what, "MLflow did not answer earlier")
            return
        connected = False
        try:
            with _bounded(self._timeout_s):
                self._connect()
                connected = True
                action()
        except Exception as error:  # whatever it is, mirroring must not end a study
            self._note_fault(what, error, only_this=connected and _is_refusal(error))
        else:
            self._missing.pop(what, None)

    def _note_fault(self, what: str, error: Exception, *, only_this: bool) -> None:
        reason = self._clean(" ".join(str(error).split()) or repr(error))[:300]
        self._missing[what] = reason
        if not only_this:
            self._retry_at = time.monotonic() + BACK_OFF_S
            self._listed = False  # a request without an answer may have made a run all the same
        topic = what if only_this else "the server"
        if topic not in self._warned:
            self._warned.add(topic)
            then = "" if only_this else f"; it is left alone for {BACK_OFF_S:.0f} s at a time"
            warnings.warn(
                f"cannot log {what} to MLflow at {redact(self._uri)}: {reason}{then}; nothing is "
                "lost, since all results lie on disk and are synced later",
                stacklevel=4,
            )

    def _connect(self) -> None:
        """Have a client, the experiment, its known runs and the parent run."""
        if self._client is None:
            self._client = _client(self._store_uri)
        if not self._experiment_id:
            found = self._mlflow.get_experiment_by_name(self._experiment)
            self._experiment_id = (
                found.experiment_id
                if found
                else self._mlflow.create_experiment(self._experiment, self._artifact_uri)
            )
        if not self._listed:
            for run in self._runs():
                number = run.data.tags.get("diffrop.trial", "")
                if number.isdecimal():
                    self._children.setdefault(int(number), _child_run(run))
                if not self._parent_id and run.data.tags.get("diffrop.launch") == self._launch:
                    self._open_parent(run)
            self._listed = True
        if not self._parent_id:
            tags = self._texts({"diffrop.launch": self._launch} | self._tags, _MAX_TAG_LENGTH)
            run = self._mlflow.create_run(self._experiment_id, None, tags, self._launch)
            self._open_parent(run)

    def _runs(self) -> Iterator[Run]:
        """All runs of the experiment, oldest first."""
        token = None
        while True:
            page = self._mlflow.search_runs(
                [self._experiment_id], max_results=100, page_token=token,
                order_by=["attributes.start_time ASC"],
            )  # fmt: skip
            yield from page
            token = page.token
            if not token:
                return

    def _open_parent(self, run: Run) -> None:
        if run.info.status != "RUNNING":
            self._mlflow.update_run(run.info.run_id, "RUNNING")
        self._log_params(run.info.run_id, self._params, run.data.params)
        self._parent_id = run.info.run_id

    def _sync(self, trial: TrackedTrial, mark: str) -> None:
        lines = _line_metrics(trial.directory / "metrics.jsonl")
        times = [metric.timestamp for metric in lines]
        run = self._children.get(trial.number) or self._create_child(trial, times)
        if run.mark == mark:
            return
        tags = {"state": trial.state, "message": trial.message} | dict(trial.tags)
        texts = self._texts(tags, _MAX_TAG_LENGTH)
        self._mlflow.log_batch(run.run_id, tags=[RunTag(*item) for item in texts.items()])
        self._log_params(run.run_id, trial.params, run.params)
        run.params.update(trial.params)
        self._set_status(run, trial, max(times, default=None))
        self._log_metrics(run, lines)
        self._log_metrics(run, _score_metrics(trial))
        self._log_samples(run, trial)
        if trial.state == "COMPLETE":
            self._log_model(run, trial)
        self._mlflow.set_tag(run.run_id, "diffrop.synced", mark)
        run.mark = mark
        if trial.state != "RUNNING":
            run.metrics.clear()  # to save memory; should more come, the store drops doubles

    def _create_child(self, trial: TrackedTrial, times: list[int]) -> _ChildRun:
        tags = {"mlflow.parentRunId": self._parent_id, "diffrop.trial": str(trial.number)}
        name = self._clean(trial.name)
        run = self._mlflow.create_run(self._experiment_id, min(times, default=None), tags, name)
        child = _child_run(run)
        child.samples = {}
        self._children[trial.number] = child
        return child

    def _set_status(self, run: _ChildRun, trial: TrackedTrial, end_time: int | None) -> None:
        status, name = STATUSES[trial.state], self._clean(trial.name)
        if run.name != name:
            self._mlflow.update_run(run.run_id, name=name)
            run.name = name
        if run.status != status:
            if status == "RUNNING":
                self._mlflow.update_run(run.run_id, status)
            else:
                self._mlflow.set_terminated(run.run_id, status, end_time)
            run.status = status

    def _log_params(self, run_id: str, params: Mapping[str, Any], known: Iterable[str]) -> None:
        """Log those whose key is new: MLflow refuses to change a parameter."""
        new = {key: value for key, value in params.items() if key not in known}
        texts = self._texts(new, _MAX_PARAM_LENGTH)
        self._mlflow.log_batch(run_id, params=[Param(*item) for item in texts.items()])

    def _log_metrics(self, run: _ChildRun, metrics: Iterable[Metric]) -> None:
        """Log what this process has not logged; the store drops what an earlier process has."""
        new = [metric for metric in metrics if metric not in run.metrics]
        self._mlflow.log_batch(run.run_id, metrics=new, synchronous=True)
        run.metrics.update(new)

    def _log_samples(self, run: _ChildRun, trial: TrackedTrial) -> None:
        files = trial.files("samples/*.png")
        if run.samples is None:
            found = self._mlflow.list_artifacts(run.run_id, "samples") if files else []
            run.samples = {Path(item.path).name: item.file_size for item in found}
        for path in files:
            size = path.stat().st_size
            if run.samples.get(path.name) != size:
                with _bounded(self._timeout_s + size / _UPLOAD_BYTES_PER_S):
                    self._mlflow.log_artifact(run.run_id, str(path), "samples")
                run.samples[path.name] = size

    def _upload_study_file(self, path: Path, mark: str) -> None:
        if not path.exists():
            raise ValueError(f"{path} does not exist")
        with _bounded(self._timeout_s + _size(path) / _UPLOAD_BYTES_PER_S):
            self._mlflow.log_artifact(self._parent_id, str(path))
        self._study_files[path] = mark

    def _log_model(self, run: _ChildRun, trial: TrackedTrial) -> None:
        """Have one logged model, finalized, for the newest checkpoint, found by its SHA-256."""
        files = trial.files("checkpoints/images_*.safetensors")
        if not files:
            return
        checkpoint = files[-1]
        metadata = _metadata(checkpoint)
        digest = json.loads(metadata["card"])["data_digest"][:12]
        mine = f"source_run_id = '{run.run_id}'"
        found = self._mlflow.search_logged_models([self._experiment_id], mine)
        same = [model for model in found if model.tags.get("sha256") == metadata["sha256"]]
        model = same[0] if same else self._create_model(run, trial, checkpoint, metadata["sha256"])
        ready = model.status == LoggedModelStatus.READY
        if not ready:
            self._upload_model(model, checkpoint, metadata["card"])
        self._log_metrics(run, _model_metrics(trial, model.model_id, digest))
        source = json.dumps({"digest": digest})
        datasets = [Dataset(group, digest, "local", source) for group in SHOT_GROUPS]
        self._mlflow.log_inputs(run.run_id, [DatasetInput(dataset) for dataset in datasets])
        self._link(run, model, _images_seen(checkpoint))
        if not ready:
            self._mlflow.finalize_logged_model(model.model_id, "READY")

    def _create_model(
        self, run: _ChildRun, trial: TrackedTrial, checkpoint: Path, sha256: str
    ) -> LoggedModel:
        tags = {
            "diffrop.trial": str(trial.number),
            "images_seen": str(_images_seen(checkpoint)),
            "sha256": sha256,
        }
        params = self._texts(dict(trial.tags) | dict(trial.params), _MAX_PARAM_LENGTH)
        name = f"t{trial.number:03d}"
        return self._mlflow.create_logged_model(
            self._experiment_id, name, run.run_id, tags, params, "diffusion"
        )

    def _upload_model(self, model: LoggedModel, checkpoint: Path, card: str) -> None:
        seconds = self._timeout_s + checkpoint.stat().st_size / _UPLOAD_BYTES_PER_S
        with tempfile.TemporaryDirectory() as folder, _bounded(seconds):
            path = Path(folder) / "card.json"
            path.write_text(self._clean(card), encoding="utf-8")
            self._mlflow.log_model_artifact(model.model_id, str(path))
            self._mlflow.log_model_artifact(model.model_id, str(checkpoint))

    def _link(self, run: _ChildRun, model: LoggedModel, images_seen: int) -> None:
        """Show the model among the run's outputs, once; MLflow would keep doubles."""
        outputs = self._mlflow.get_run(run.run_id).outputs
        linked = outputs.model_outputs if outputs else []
        if model.model_id not in [output.model_id for output in linked]:
            output = LoggedModelOutput(model.model_id, images_seen)
            self._mlflow.log_outputs(run.run_id, [output])

    def _clean(self, text: str) -> str:
        """Return text without the tracking URI's password, and with every URI in it redacted."""
        text = text.replace(self._uri, redact(self._uri)).replace(
            self._store_uri, redact(self._store_uri)
        )
        text = re.sub(r"[\w+.-]+://\S+", lambda match: redact(match[0]), text)
        for secret in _secrets(self._uri):
            text = text.replace(secret, "***")
        return text

    def _texts(self, values: Mapping[str, Any], limit: int) -> dict[str, str]:
        return {key: self._clean(str(value))[:limit] for key, value in values.items()}


def _is_refusal(error: Exception) -> bool:
    """Whether the fault lies in one trial's data, so that other trials can go on."""
    if isinstance(error, MlflowException):
        return bool(error.get_http_status_code() == 400)
    return isinstance(error, KeyError | TypeError | ValueError | SafetensorError)


@contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """Bound each request of the body; no retries (the next sync is one), URLs or telemetry."""
    variables = {
        environment_variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES: "0",
        environment_variables.MLFLOW_HTTP_REQUEST_TIMEOUT: str(math.ceil(seconds)),
        environment_variables.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT: "true",
        environment_variables.MLFLOW_DISABLE_TELEMETRY: "true",
    }
    before = {variable: variable.get_raw() for variable in variables}
    try:
        for variable, value in variables.items():
            variable.set(value)
        yield
    finally:
        for variable, old in before.items():
            if old is None:
                variable.unset()
            else:
                variable.set(old)


def _checked_uri(uri: str, timeout_s: float) -> str:
    """Return the URI that MLflow is given; raise ValueError if it is none of `ALLOWED_URIS`."""
    url, scheme = None, uri.partition(":")[0]
    try:
        if scheme in ("http", "https"):
            parts = urlsplit(uri)
            allowed = bool(parts.hostname) and parts.port != 0  # raises if it is no number
        else:
            url = sqlalchemy.make_url(uri)
            path = Path(url.database or "")
            is_file = scheme == "sqlite" and path.is_absolute() and not path.is_dir()
            allowed = is_file or (scheme.startswith("postgresql") and bool(url.database))
    except (ValueError, sqlalchemy.exc.ArgumentError):
        allowed = False
    # Outside of the except block, so that no traceback shows the URI with its password.
    require(allowed, "tracking_uri", redact(uri), ALLOWED_URIS)
    return uri if url is None or scheme == "sqlite" else _postgresql_uri(url, timeout_s)


def _postgresql_uri(url: sqlalchemy.URL, timeout_s: float) -> str:
    """Return the URI with an installed driver, and with deadlines for silent or lost hosts."""
    drivers = [name for name in ("psycopg", "psycopg2") if importlib.util.find_spec(name)]
    if url.drivername == "postgresql" and drivers:
        url = url.set(drivername=f"postgresql+{drivers[0]}")
    installed = url.drivername.partition("+")[2] in drivers
    hint = "one whose driver is installed (pip install 'diffrop-studies[postgresql]')"
    require(installed, "tracking_uri", redact(str(url)), hint)
    deadlines = {
        "connect_timeout": str(max(2, math.ceil(timeout_s))),  # libpq takes 1 for 2
        "keepalives_idle": "5",
        "keepalives_interval": "5",
        "keepalives_count": "2",
    }
    new = {key: value for key, value in deadlines.items() if key not in url.query}
    return url.update_query_dict(new).render_as_string(hide_password=False)


def _client(uri: str) -> MlflowClient:
    """Return a client; raises at once where a PostgreSQL server is dead.

    MLflow itself would try ten times, for 100 s and without a way to change that.
    """
    if uri.startswith("postgresql"):
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
        engine.connect().close()
    return MlflowClient(uri)


def _sqlite_client(uri: str) -> MlflowClient | None:
    """Create or upgrade the database; return its client, None while another process locks it.

    Raises:
        ValueError: the file is no SQLite database, not writable, or of a newer MLflow.
    """
    from mlflow.store.db import utils

    path = Path(sqlalchemy.make_url(uri).database or "")
    allowed = "an SQLite database, or a new file, that can be written"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.seek(0)
            start = file.read(16)
    except OSError as error:
        raise ValueError(f"tracking_uri is {uri!r}; allowed: {allowed} ({error})") from None
    require(start in (b"", b"SQLite format 3\0"), "tracking_uri", uri, allowed)
    try:
        try:
            return MlflowClient(uri)
        except MlflowException as error:
            if "out-of-date" not in str(error):
                raise
        # What `mlflow db upgrade` runs; MLflow itself upgrades only where a table is missing.
        utils._upgrade_db(utils.create_sqlalchemy_engine_with_retry(uri))
        return MlflowClient(uri)
    except Exception as error:  # MLflow's, Alembic's or SQLAlchemy's, as the damage may be
        if "locked" in str(error):
            return None
        raise ValueError(f"tracking_uri is {uri!r}; MLflow cannot open it: {error}") from error


def _secrets(uri: str) -> list[str]:
    """Return the passwords of a URI as they may show up elsewhere, but none that hit words."""
    if uri.startswith("sqlite"):
        return []
    found = re.findall(r"://[^:@]*:(.*)@", uri, flags=re.DOTALL)
    found += [match[2] for match in _QUERY_SECRET.finditer(uri)]
    return [text for raw in found for text in (raw, unquote(raw)) if len(text) >= 4]


def _child_run(run: Run) -> _ChildRun:
    return _ChildRun(
        run_id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        params=set(run.data.params),
        mark=run.data.tags.get("diffrop.synced", ""),
    )


def _watched(trial: TrackedTrial) -> list[Path]:
    files = [trial.directory / "metrics.jsonl", *trial.files("scores/*.json")]
    files += trial.files("samples/*.png")
    if trial.state == "COMPLETE":
        files += trial.files("checkpoints/images_*.safetensors")
    return files


def _fingerprint(files: Iterable[Path], trial: TrackedTrial | None = None) -> str:
    """Return a digest of names, sizes and times of files, and of what a trial itself says."""
    entries: list[object] = []
    for file in sorted(files):
        try:
            status = file.stat()
        except OSError:
            continue
        entries.append((file.name, status.st_size, status.st_mtime_ns))
    if trial is not None:
        said = [trial.name, trial.state, trial.message, dict(trial.params), dict(trial.tags)]
        entries.append(said)
    return hashlib.sha256(repr(entries).encode()).hexdigest()


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def _numbers(values: Mapping[str, Any], timestamp: int, step: int) -> list[Metric]:
    """Return a metric for each value that is a number; null says that nothing was measured."""
    return [
        Metric(key, float(value), timestamp, step)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _line_metrics(path: Path) -> list[Metric]:
    """Return the metrics of every whole line; half a line is one that is still being written."""
    if not path.exists():
        return []
    metrics = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
        try:
            values = json.loads(line)
        except ValueError:
            continue  # a crash amid a line, and the resumed trial wrote on behind it
        if isinstance(values, dict) and {"images_seen", "time"} <= values.keys():
            step, timestamp = int(values.pop("images_seen")), _milliseconds(values.pop("time"))
            metrics += _numbers(values, timestamp, step)
    return metrics


def _milliseconds(time_s: float) -> int:
    return round(time_s * 1000)


def _scores(path: Path) -> dict[str, Any]:
    """Read a score file; "best" is added: the scores at its best omega.

    Raises:
        ValueError: it is damaged, or not written to its end yet.
    """
    try:
        score: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        by_omega = {entry["omega"]: entry["scores"] for entry in score["curve"]}
        return score | {"best": by_omega[score["omega"]]}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no complete score file ({error!r})") from error


def _score_metrics(trial: TrackedTrial) -> list[Metric]:
    metrics: list[Metric] = []
    score: dict[str, Any] = {}
    for path in trial.files("scores/images_*.json"):
        score = _scores(path)
        counts = {f"num_samples/{name}": count for name, count in score["num_samples"].items()}
        values = {"omega": score["omega"], "score": score["value"]} | counts | score["best"]
        metrics += _numbers(values, _milliseconds(score["time"]), int(score["images_seen"]))
    if score and (score.get("final") or trial.state != "RUNNING"):
        for entry in score["curve"]:
            values = {f"omega_curve/{name}": value for name, value in entry["scores"].items()}
            step = round(entry["omega"] * 1000)
            metrics += _numbers(values, _milliseconds(score["time"]), step)
    return metrics


def _model_metrics(trial: TrackedTrial, model_id: str, digest: str) -> list[Metric]:
    """Return the newest score's FID of each shot group, as one metric on four data sets.

    The key of MLflow's table leaves the data set out (3.17.2), and four values at one step and
    time are refused as doubles: so each gets a millisecond of its own.
    """
    files = trial.files("scores/images_*.json")
    if not files:
        return []
    score = _scores(files[-1])
    timestamp, step = _milliseconds(score["time"]), int(score["images_seen"])
    return [
        Metric(
            "fid", float(score["best"][f"fid/{group}"]), timestamp + i, step,
            model_id=model_id, dataset_name=group, dataset_digest=digest,
        )
        for i, group in enumerate(SHOT_GROUPS)
        if score["best"].get(f"fid/{group}") is not None
    ]  # fmt: skip


def _metadata(checkpoint: Path) -> dict[str, str]:
    with safe_open(checkpoint, framework="np") as file:
        metadata: dict[str, str] = file.metadata() or {}
    complete = {"card", "sha256"} <= metadata.keys()
    require(complete, "checkpoint", str(checkpoint), "one with card and sha256 in its header")
    return metadata


def _images_seen(checkpoint: Path) -> int:
    return int(checkpoint.stem.removeprefix("images_"))
