"""The writes of one trial into its run: texts, metrics, images and the logged model."""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import (
    LoggedModel,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunTag,
)

from diffrop.checkpoint_header import read_header
from diffrop.record.score_card import ScoreCard
from diffrop.tracking.client import bounded
from diffrop.tracking.confirmation import ConfirmedTrial
from diffrop.tracking.experiment import CONFIRMED, RETRAINING, STUDY, SYNCED, TRIAL
from diffrop.tracking.images import BY_RUNG, FINAL, logged_images, read_grid, shown_as
from diffrop.tracking.metrics import model_metrics
from diffrop.tracking.mlflow_private import HIDDEN, IMAGE_FOLDER, NOTE, PARENT_RUN
from diffrop.tracking.record_files import RECORD, trial_record
from diffrop.tracking.tracked_trial import STATUSES, LoggedState, Stamp, TrackedTrial, stamp

TENSORS = f"{HIDDEN}diffrop.sha256"
DATA = f"{HIDDEN}diffrop.data_digest"
"""The tags of a logged model with the digests of its checkpoint's tensors and of the images that
it was trained on."""
EARLIER_TENSORS = "sha256"
_MAX_TEXT_LENGTH = 6000  # of parameters; tags may have 8000
_UPLOAD_BYTES_PER_S = 5e6  # the slowest link that an upload's deadline allows for
_MAX_METRICS = 500  # that travel with tags in one request, so that these are written last


@dataclass
class RunState:
    """A trial's run in MLflow, as this process knows it."""

    run_id: str
    name: str
    status: str
    params: set[str]
    tags: dict[str, str]
    mark: str = ""
    """`TrackedTrial.mark` of what lies in MLflow."""
    logged: LoggedState = field(default_factory=LoggedState)
    synced: TrackedTrial | None = None
    """The trial when all of it was found, or brought, in MLflow."""
    empty: bool = False
    """Whether it was made just now, so that no images or models of it can lie there."""
    final: Stamp | None = None
    """The sample grid that lies there as the final one."""
    model: Stamp | None = None
    """The checkpoint that lies there as its logged model."""
    record: dict[str, Stamp] = field(default_factory=dict)
    """The files of the record that lie there, by their path in the artifact folder."""

    @classmethod
    def of(cls, run: Run) -> "RunState":
        """Take up a run that an earlier process may have written."""
        info, data = run.info, run.data
        params, tags = set(data.params), dict(data.tags)
        mark = tags.get(SYNCED, "")
        return cls(info.run_id, info.run_name, info.status, params, tags, mark)


def kind_of(trial: TrackedTrial) -> dict[str, str]:
    """Return the tag by which the run of a trial or a retraining is known in its study."""
    return {TRIAL: str(trial.number)} if trial.seed is None else {RETRAINING: trial.label}


def kind_of_confirmation(number: int) -> dict[str, str]:
    """Return the tag by which the run of all retrainings of a trial is known in its study."""
    return {CONFIRMED: str(number)}


NO_RUN = RunState("", "", "", set(), {})


class RunWriter:
    """Writes into the runs of one experiment."""

    def __init__(
        self,
        client: MlflowClient,
        experiment_id: str,
        token: str,
        hide: Callable[[str], str],
        timeout_s: float,
    ) -> None:
        """Write by `client`; `hide` takes credentials out of every text."""
        self._mlflow, self._experiment_id, self._token = client, experiment_id, token
        self._hide, self._timeout_s = hide, timeout_s

    def find(self, kind: Mapping[str, str]) -> RunState | None:
        """Return the run of a trial, a retraining or a confirmation, if there is one."""
        tags = {STUDY: self._token, **kind}
        found = self._mlflow.search_runs(
            [self._experiment_id],
            " AND ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items()),
        )
        return RunState.of(found[-1]) if found else None  # they come newest first

    def create(self, kind: Mapping[str, str], name: str, started_ms: int | None) -> RunState:
        """Create such a run."""
        tags = {STUDY: self._token, **kind}
        run = self._mlflow.create_run(self._experiment_id, started_ms, tags, self._hide(name))
        return dataclasses.replace(RunState.of(run), empty=True)

    def place(self, run: RunState, parent_id: str | None) -> None:
        """Have a run in the table itself, or folded away below another run."""
        if run.tags.get(PARENT_RUN) == parent_id:
            return
        if parent_id is None:  # an earlier version folded trials away below their launch
            self._mlflow.delete_tag(run.run_id, PARENT_RUN)
            del run.tags[PARENT_RUN]
        else:
            self.log(run, [], {}, {PARENT_RUN: parent_id})

    def write_confirmation(
        self, run: RunState, confirmed: ConfirmedTrial, seeds: Sequence[RunState]
    ) -> None:
        """Write what the retrainings of a trial say together; it runs while one of them does."""
        status = "RUNNING" if any(seed.status == "RUNNING" for seed in seeds) else "FINISHED"
        if run.status != status and status == "RUNNING":
            self._mlflow.update_run(run.run_id, status)
        if run.status != status and status != "RUNNING":
            self._mlflow.set_terminated(run.run_id, status)
        run.status = status
        self.log(run, confirmed.metrics(), {}, {NOTE: confirmed.note()})

    def write(self, run: RunState, trial: TrackedTrial, mark: str) -> None:
        """Write what is new of a trial, and last, once it has ended, that all of it is there.

        Raises:
            ValueError: a file is damaged; what else there is of the trial is written.
        """
        empty, run.empty = run.empty, False  # before a fault can leave something there
        curves, read = trial.new_curves(run.logged)
        scores: list[Metric] = []
        card: ScoreCard | None = None
        damage: ValueError | None = None
        try:
            scores, read = trial.new_scores(read)
            card = trial.newest_score()
        except ValueError as error:
            damage = error
        self._set_status(run, trial, read.ended_ms)
        grids, complete = trial.folder.grids(), trial.state == "COMPLETE"
        samples = [path for path in grids if stamp(path) not in read.files]
        final = [path for path in grids[-1:] if complete and stamp(path) != run.final]
        model = trial.checkpoint() if complete else None
        model = None if model is None or stamp(model) == run.model else model
        record = trial_record(trial.folder) if trial.ended else {}
        later = bool(samples or final or model or record)
        metrics = [*scores, *curves]  # what is logged first is what MLflow's UI names first
        whole = not (later or damage) and len(metrics) <= _MAX_METRICS
        tags = {"state": trial.state, NOTE: trial.note(card), **trial.tags}
        if trial.message or "message" in run.tags:
            tags["message"] = trial.message
        last = {SYNCED: mark} if trial.ended else {}  # a later process reads it
        self.log(run, metrics, trial.params, tags | (last if whole else {}))
        run.logged = read
        if damage:
            raise damage
        if samples or final:
            self._log_samples(run, samples, final, empty)
        of_model = self._log_model(run.run_id, trial, model, empty) if model else []
        self.log_record(run, record)
        if not whole:
            self.log(run, of_model, {}, last)
        run.model = stamp(model) if model else run.model
        run.mark = mark

    def _set_status(self, run: RunState, trial: TrackedTrial, ended_ms: int | None) -> None:
        status, name = STATUSES[trial.state], self._hide(trial.name)
        if run.name != name or (run.status != status and status == "RUNNING"):
            self._mlflow.update_run(run.run_id, status, name)
        if run.status != status and status != "RUNNING":
            self._mlflow.set_terminated(run.run_id, status, ended_ms)
        run.status, run.name = status, name

    def log(
        self,
        run: RunState,
        metrics: list[Metric],
        params: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> None:
        """Log metrics, tags that changed, and parameters of new keys: MLflow changes none."""
        new = self.texts({key: value for key, value in params.items() if key not in run.params})
        texts = self.texts(tags)
        changed = {key: text for key, text in texts.items() if run.tags.get(key) != text}
        self._mlflow.log_batch(
            run.run_id,
            metrics=metrics,
            params=[Param(*item) for item in new.items()],
            tags=[RunTag(*item) for item in changed.items()],
        )
        run.params |= new.keys()
        run.tags |= changed

    def texts(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return values as texts that MLflow takes, without credentials."""
        return {key: self._hide(str(value))[:_MAX_TEXT_LENGTH] for key, value in values.items()}

    def _log_samples(
        self, run: RunState, paths: list[Path], final: list[Path], empty: bool
    ) -> None:
        """Upload sample grids as images that the UI shows with a slider over the steps."""
        lying = [] if empty else self._mlflow.list_artifacts(run.run_id, IMAGE_FOLDER)
        found = logged_images(lying)
        for key, path in [(BY_RUNG, path) for path in paths] + [(FINAL, path) for path in final]:
            shown = shown_as(path, key)
            if shown not in found:
                image, (_, step, written_ms) = read_grid(path), shown
                with self.time_for(path):
                    self._mlflow.log_image(
                        run.run_id,
                        image,
                        key=key,
                        step=step,
                        timestamp=written_ms,
                        synchronous=True,
                    )
        seen = run.logged.files | {stamp(path) for path in paths}
        run.logged = dataclasses.replace(run.logged, files=seen)
        run.final = next(map(stamp, final), run.final)

    def log_record(self, run: RunState, files: Mapping[str, Path]) -> None:
        """Upload what is new of the record's files, without credentials.

        Args:
            run: of the trial, or of the launch.
            files: by their path in the artifact folder; see `record_files`.
        """
        found = {name: (path, stamp(path)) for name, path in files.items()}
        new = {name: both for name, both in found.items() if run.record.get(name) != both[1]}
        if not new:
            return
        with tempfile.TemporaryDirectory() as folder:
            for name, (path, _) in new.items():
                copy = Path(folder, name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                text = path.read_text(encoding="utf-8", errors="replace")
                copy.write_text(self._hide(text), encoding="utf-8")
            with self.time_for(Path(folder)):
                self._mlflow.log_artifacts(run.run_id, folder, RECORD)
        run.record |= {name: seen for name, (_, seen) in new.items()}

    def time_for(self, path: Path) -> AbstractContextManager[None]:
        """Bound the upload of a file or folder by its size."""
        size = sum(file.stat().st_size for file in [path, *path.rglob("*")])
        return bounded(self._timeout_s + size / _UPLOAD_BYTES_PER_S)

    def _log_model(
        self, run_id: str, trial: TrackedTrial, checkpoint: Path, empty: bool
    ) -> list[Metric]:
        """Have one finalized logged model of the checkpoint; return metrics that tell of it."""
        header = read_header(checkpoint)
        card, sha256 = header.card, header.tensors_sha256
        model = None if empty else self._logged_model(run_id, sha256)
        linked: list[str] = []
        if model is not None:  # an earlier process may have linked it, and MLflow keeps doubles
            outputs = self._mlflow.get_run(run_id).outputs
            linked = [output.model_id for output in outputs.model_outputs] if outputs else []
        else:
            tags = {STUDY: self._token, TRIAL: str(trial.number), TENSORS: sha256}
            tags |= {DATA: card["data_digest"], "images_seen": str(card["images_seen"])}
            shown = {key: text for key, text in trial.tags.items() if not key.startswith(HIDDEN)}
            params = self.texts({**shown, **trial.params})
            model = self._mlflow.create_logged_model(
                self._experiment_id, trial.label, run_id, tags, params, "diffusion"
            )
        if model.status != LoggedModelStatus.READY:
            with tempfile.TemporaryDirectory() as folder, self.time_for(checkpoint):
                path = Path(folder) / "card.json"
                path.write_text(self._hide(header.card_text), encoding="utf-8")
                self._mlflow.log_model_artifact(model.model_id, str(path))
                self._mlflow.log_model_artifact(model.model_id, str(checkpoint))
            if model.model_id not in linked:
                output = LoggedModelOutput(model.model_id, card["images_seen"])
                self._mlflow.log_outputs(run_id, [output])
            self._mlflow.finalize_logged_model(model.model_id, "READY")
        newest = trial.newest_score()
        return model_metrics(newest, model.model_id) if newest and newest.final else []

    def _logged_model(self, run_id: str, sha256: str) -> LoggedModel | None:
        """Return the model of a run that was made from the checkpoint with this SHA-256."""
        of_run = f"source_run_id = '{run_id}'"
        found = self._mlflow.search_logged_models([self._experiment_id], of_run)
        return next((model for model in found if sha256 in _tensors_of(model)), None)


def _tensors_of(model: LoggedModel) -> set[str | None]:
    """Return the digest that a logged model's tags give its tensors, by the name that it has."""
    return {model.tags.get(name) for name in (TENSORS, EARLIER_TENSORS)}
