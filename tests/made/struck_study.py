"""A study that is struck in a phase of its choice, and what comes out of it."""

import contextlib
import hashlib
import sqlite3
import time
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import torch
import yaml

from diffrop.checkpoint_file import read_checkpoint
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.json_files import read_record
from diffrop.record.names import images_of, trial_label
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trial_folder import TrialFolder
from diffrop.record.trial_state import RUNGS, VALUES
from tests.made.study_process import (
    DEADLINE_S,
    EXTRACTOR,
    SMALL_NETWORK,
    StudyProcess,
    with_settings,
)

WORKER = "ray::ImplicitFunc"
"""How Ray calls the process that runs a trial of one worker."""
PREFIX, TRAINING, SCORING, CONFIRMATION = "prefix", "training", "scoring", "confirmation"
PHASES = (PREFIX, TRAINING, SCORING, CONFIRMATION)
POINTS = [
    {"contrastive.form": "reciprocal", "contrastive.tau_0": 3.0},
    {"contrastive.form": "hinge", "contrastive.tau_0": 1.0, "contrastive.margin": 1.01},
    {"contrastive.form": "exponential", "contrastive.tau_0": 10.0},
    {"contrastive.form": "negative_l2", "contrastive.tau_0": 0.5},
    {"contrastive.form": "reciprocal", "contrastive.tau_0": 30.0},
]
IMAGES = 3072
FORK = 512
OPTIONS = {
    "--trials": str(1 + len(POINTS)),
    "--images": str(IMAGES),
    "--fork-from": f"baseline@{FORK}",
    "--num-samples": "400",
    "--omegas": "0,1",
    "--confirm": "1",
    "--seeds": "2",
    "--max-concurrent": "2",
    "--max-failures": "30",
    "--first-rung": "1024",
    "--rung-samples": "200",
}
SETTINGS = (
    *SMALL_NETWORK,
    "sampling.num_steps=4",
    "training.batch_size=32",
    "training.checkpoint_every_images=256",
    "training.log_every_images=64",
)
"""Of a study whose trials take some seconds to train and to score."""


class StruckStudy(StudyProcess):
    """A study of a fixed list of points, struck in whatever its trials do."""

    began: float
    """When the present launch began, in seconds since 1970."""

    def __init__(self, folder: Path, *options: str, name: str = "s") -> None:
        """Write its points beside its log; start nothing yet."""
        words = [word for pair in OPTIONS.items() for word in pair]
        points = folder.with_name(f"{folder.name}-{name}.yaml")
        decay = {"contrastive.decay_temperature": 0.2}
        points.write_text(yaml.safe_dump([point | decay for point in POINTS]))
        own = ("--points", str(points), "--quiet", *EXTRACTOR, *words, *with_settings(*SETTINGS))
        super().__init__(folder, *own, *options, name=name)

    def start(self, *more: str, stdout: int | None = None) -> None:
        """Start the study, or go on with it."""
        self.began = time.time()
        resume = ("--resume",) if self.study.config.exists() else ()
        super().start(*more, *resume, stdout=stdout)

    def phases(self) -> set[str]:
        """What its trials do now; nothing where none runs."""
        if not self.named(WORKER):
            return set()
        study = self.study
        found = {PREFIX} if any(self._trains(folder) for folder in study.prefixes()) else set()
        if any(self._trains(f) or self._scores(f) for f in study.retrainings()):
            found.add(CONFIRMATION)
        trials = study.trials()
        found |= {TRAINING} if any(self._trains(folder) for folder in trials) else set()
        return found | ({SCORING} if any(self._scores(folder) for folder in trials) else set())

    def _trains(self, folder: TrialFolder) -> bool:
        """Whether the curves of its training have grown in the last second."""
        with contextlib.suppress(OSError):
            curves = folder.training().curves_path
            return time.time() - curves.stat().st_mtime < 1 and not _weights(folder, IMAGES)
        return False

    def _scores(self, folder: TrialFolder) -> bool:
        """Whether this launch runs it, and its last checkpoint has no score yet."""
        with contextlib.suppress(OSError):
            runs = folder.log.stat().st_mtime > self.began
            return runs and _weights(folder, IMAGES) and not folder.score_path(IMAGES).exists()
        return False

    def reaches(self, phase: str) -> bool:
        """Wait until a trial is in a phase; return False if the study ended before."""
        deadline = time.monotonic() + DEADLINE_S
        while phase not in self.phases():
            if self.driver.poll() is not None:
                return False
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)
        return True


def _weights(folder: TrialFolder, images: int) -> bool:
    return folder.training().checkpoint_path(images).exists()


def outcome(study: StudyFolder) -> dict[str, Any]:
    """Return what a study found, without times: two undisturbed runs of it agree in every entry.

    Its keys are sentences that name what differs.
    """
    storage = f"sqlite:///{study.database}"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trials = optuna.load_study(study_name=study.path.name, storage=storage).get_trials()
    found: dict[str, Any] = {"trials": [trial.number for trial in trials]}
    for trial in trials:
        label = trial_label(trial.number)
        found[f"state of {label}"] = trial.state.name
        found[f"point of {label}"] = trial.user_attrs.get(VALUES)
        found[f"values of {label}"] = trial.values
        for images, score in trial.user_attrs.get(RUNGS, {}).items():
            found[f"score of {label} at {images} in the database"] = score
    for folder in (*study.trials(), *study.retrainings()):
        found |= _scores_and_weights(folder)
    record = read_record(study.confirmation, ConfirmationRecord)
    if record is not None:
        found["confirmed leaders"] = [(x.trial, x.values, x.low, x.high) for x in record.leaders]
        found["confirmed baseline"] = record.baseline.values
    table = pd.read_csv(study.trials_table)
    found["table"] = table[["number", "state", "rank"]].fillna("").to_numpy().tolist()
    return found


def _scores_and_weights(folder: TrialFolder) -> dict[str, Any]:
    label, found = folder.path.name, {}
    for card in folder.scores():
        at = f"{label} at {card.images_seen}"
        curve = [(p.omega, p.sampler, p.num_samples, p.scores) for p in card.curve]
        found[f"score of {at}"] = (card.values, card.omega, card.sampler, curve)
        path = folder.training().checkpoint_path(card.images_seen)
        if path.exists():
            found[f"weights of {at}"] = tensors_digest(path)
    return found


def tensors_digest(path: Path) -> str:
    """Return a digest of every tensor of a checkpoint: weights, averages, moments, generators."""
    sha = hashlib.sha256()
    for name, tensor in sorted(read_checkpoint(path).tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Return one sentence for each entry that differs."""
    return [
        f"{key}: {_short(found.get(key))} instead of {_short(expected.get(key))}"
        for key in sorted(found.keys() | expected.keys())
        if found.get(key) != expected.get(key)
    ]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 120 else f"{text[:100]}... ({hash(text) % 10**6})"


def tracked_trials(database: Path, study: str) -> list[str]:
    """Return the trial's number of every run that MLflow's database has of a study."""
    query = (
        "select tags.value from tags join runs using (run_uuid) "
        "join experiments using (experiment_id) "
        "where tags.key = 'mlflow.diffrop.trial' and experiments.name = ? "
        "order by cast(value as int)"
    )
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return [value for (value,) in connection.execute(query, (study,))]


def newest_checkpoint(study: StudyFolder) -> Path | None:
    """Return the newest checkpoint of the training that ran last and has not ended.

    One that a rung stopped has ended: nobody reads its checkpoints again.
    """
    running = _running(study)
    trials = [folder for folder in study.trials() if folder.path.name in running]
    found = []
    for folder in (*trials, *study.retrainings()):
        path = folder.training().path
        files = [file for file in path.glob("images_*.safetensors") if images_of(file)]
        if files and not folder.score_path(IMAGES).exists():
            found.append(max(files))
    return max(found, key=lambda file: file.stat().st_mtime, default=None)


def _running(study: StudyFolder) -> set[str]:
    """Return the labels of the trials that run, by the database; none before there is one."""
    if not study.database.exists():
        return set()
    source = f"{study.database.resolve().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(source, uri=True, timeout=30)) as connection:
        rows = connection.execute("select number from trials where state = 'RUNNING'").fetchall()
    return {trial_label(number) for (number,) in rows}
