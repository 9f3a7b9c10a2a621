"""What a study is (StudyConfig), and how one launch of it runs (LaunchConfig)."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from diffrop.config import ExperimentConfig
from diffrop.schema import Config, require
from diffrop.study.fork import ForkPoint, parse_fork
from diffrop.study.rung import Rung, in_whole_batches, last_rung
from diffrop.study.space import SearchSpace
from diffrop.study.stopping_rules import STOPPING_RULES

STUDY_FORMAT = 3
BESIDE = ("format", "command", "environment")
"""What study.yaml holds beside the fields of the configuration."""

MAX_TRIALS = 100_000
MIN_FACTOR, MAX_FACTOR = 1.1, 1000
"""Of `reduction_factor`: nearer to 1 there would be a rung at nearly every step."""

Sampler = Literal["tpe", "bohb", "nsga2", "random"]


TAKEN_NAMES = ("checkpoints", "mlartifacts")
DATABASE = "mlflow.db"
"""MLflow's in the runs folder; SQLite and locks keep files beside it whose names begin so."""


NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_name(name: str) -> str:
    """Return the name of a study or training; ValueError if it could leave the runs folder."""
    fits = NAME_PATTERN.fullmatch(name) is not None and ".." not in name
    allowed = "letters, digits, '.', '_' and '-', at most 100, not beginning with a mark"
    require(fits, "name", name, allowed)
    allowed = f"not {', '.join(TAKEN_NAMES)} nor {DATABASE}..., which are of all studies"
    taken = name in TAKEN_NAMES or name.startswith(DATABASE)
    require(not taken, "name", name, allowed)
    return name


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyConfig(Config):
    """Everything that a study's results depend on; fixed for its life."""

    name: str
    space: SearchSpace
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    """Of the baseline once its form is none; trials replace the searched keys."""
    num_trials: int = 9
    """The baseline included."""
    seed: int = 0
    """Of the sampler of hyperparameters."""
    scheduler: str = "median"
    """Which trials are stopped at a rung; none runs every trial to its end."""
    sampler: Sampler = "tpe"
    """What suggests the points; bohb is TPE on the highest rung with enough trials."""
    first_rung_images: int = 10_000
    reduction_factor: float = 2.0
    """One trial in this many goes on from each rung; rungs lie this factor apart in images, and
    their samples and sampler steps grow by it."""
    rung_samples: int = 300
    """Images of a score at the first rung."""
    rung_steps: int | None = None
    """Denoising steps at the first rung; None takes the full number everywhere."""
    audit_fraction: float = 0.0
    """Share of the trials to be stopped that run on, to tell whether stopping was right."""
    fork_from: str | None = None
    """baseline@IMAGES, or a checkpoint's path: where every trial starts from."""
    points: tuple[dict[str, Any], ...] = ()
    """Points of the space that are tried first, after the baseline."""
    warm_start: tuple[str, ...] = ()
    """Studies of the runs folder whose trials the sampler knows from the start."""

    def check(self) -> None:
        """Refuse names that leave the runs folder, and budgets that are none."""
        check_name(self.name)
        allowed = ", ".join(STOPPING_RULES)
        require(self.scheduler in STOPPING_RULES, "scheduler", self.scheduler, allowed)
        allowed = f"at least 2, at most {MAX_TRIALS:,}"
        require(2 <= self.num_trials <= MAX_TRIALS, "num_trials", self.num_trials, allowed)
        require(0 <= self.seed < 2**31, "seed", self.seed, "0 to 2^31 - 1")
        require(self.first_rung_images > 0, "first_rung_images", self.first_rung_images, "over 0")
        factor, allowed = self.reduction_factor, f"{MIN_FACTOR:g} to {MAX_FACTOR:g}"
        require(MIN_FACTOR <= factor <= MAX_FACTOR, "reduction_factor", factor, allowed)
        require(self.rung_samples >= 2, "rung_samples", self.rung_samples, "at least 2")
        steps = self.rung_steps
        require(steps is None or steps >= 1, "rung_steps", steps, "at least 1")
        require(0 <= self.audit_fraction <= 1, "audit_fraction", self.audit_fraction, "0 to 1")
        given, room = len(self.points), self.num_trials - 1
        require(given <= room, "points", f"{given} points", f"{room} with num_trials at most")
        typed = tuple(self.space.checked_point(point) for point in self.points)
        object.__setattr__(self, "points", typed)
        for name in self.warm_start:
            require(check_name(name) != self.name, "warm_start", name, "other studies")
        for _ in self.space.corners(self.experiment):
            pass  # building each checks it, before anything starts
        self._check_averages()

    def _check_averages(self) -> None:
        """Refuse lengths that snapshots do not give at every rung.

        Another study's checkpoint, from which this one forks, is taken to have none of its own.
        """
        if not (lengths := self.experiment.reconstructed_lengths):
            return
        training, since = self.experiment.training, self._no_snapshots_until
        for rung, length in itertools.product(self.rungs, lengths):
            training.check_average(length, "evaluation.ema_lengths", rung.images, since)

    @property
    def average_errors(self) -> dict[float, float]:
        """The relative error of each reconstructed average, at the rung where it is largest."""
        if not (lengths := self.experiment.reconstructed_lengths):
            return {}
        training, since = self.experiment.training, self._no_snapshots_until
        return {
            length: max(training.average_error(length, rung.images, since) for rung in self.rungs)
            for length in lengths
        }

    @property
    def _no_snapshots_until(self) -> int:
        """Images up to which there are none: a checkpoint of another study counts as without."""
        fork = self.fork_point
        return fork.images if fork is not None and fork.path is not None else 0

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "StudyConfig":
        """Build from the content of study.yaml, which has others beside the fields.

        Raises:
            ValueError: a key is unknown or a value is not allowed.
        """
        kept = {key: value for key, value in settings.items() if key not in BESIDE}
        return cls.from_dict(kept)

    @property
    def fork_point(self) -> ForkPoint | None:
        """Where trials start from; None if they start afresh."""
        if self.fork_from is None:
            return None
        return parse_fork(self.fork_from, self.experiment.training.batch_size)

    @property
    def prefix_images(self) -> int:
        """Images of what the study itself trains before its trials fork; 0 if it does not."""
        own = self.fork_from is not None and self.fork_from.startswith("baseline@")
        fork = self.fork_point if own else None
        return 0 if fork is None else fork.images

    @property
    def baseline(self) -> ExperimentConfig:
        """Trial 0: the same training without the contrastive loss."""
        return self.experiment.with_values({"contrastive.form": "none"})

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The rungs of a trial, in whole batches; the last is the end of training."""
        batch = self.experiment.training.batch_size
        last = last_rung(self.experiment)
        rungs: list[Rung] = []
        growth = 1.0
        while (whole := in_whole_batches(self.first_rung_images * growth, batch)) < last.images:
            if self.scheduler == "none":
                break
            samples = min(last.num_samples, int(self.rung_samples * growth))
            steps = int(self.rung_steps * growth) if self.rung_steps else None
            rung = Rung(images=whole, num_samples=samples, num_steps=steps, final=False)
            if not rungs or whole > rungs[-1].images:  # several lie within the first batch
                rungs.append(rung)
            growth *= self.reduction_factor
        return (*rungs, last)


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchConfig(Config):
    """How a study runs this time; may change when it is resumed."""

    runs_root: str = "runs"
    """Folder of all studies; on a cluster, on a file system that every node shares."""
    ray_address: str = "local"
    workers_per_trial: int = 1
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0
    max_concurrent: int | None = None
    """Trials at a time; None takes as many as fit, but leaves half of them to the model."""
    max_failures: int = 2
    """Restarts of a trial, each from its newest intact checkpoint."""
    worker_timeout_s: int = 600
    """A worker group silent for this long is restarted."""
    outage_wait_s: int = 300
    """The database, or room on a disk, may be away for so long before the trials save and stop."""
    storage: str | None = None
    """Optuna's storage URL; None is SQLite in the study's folder."""
    storage_path: str | None = None
    """A remote copy of the runs folder, such as s3://bucket/runs, for nodes that share no disk."""
    tracking_uri: str | None = None
    """MLflow's; None is SQLite in the runs folder."""
    confirm: int = 0
    """How many leaders are trained again, beside the baseline, with fresh seeds."""
    confirm_seeds: int = 3
    """Fresh seeds of a confirmation; near-ties get more, as far as the budget goes."""
    budget_gpu_hours: float | None = None
    """No trial begins after so many hours of GPUs, or of workers where there is no GPU."""
    budget_wall_s: float | None = None
    """No trial begins after so many seconds of this launch."""
    price_per_gpu_hour: float | None = None
    keep_trials: int | None = None
    """Leaders whose checkpoints outlive the study, beside the baseline's; None keeps all."""
    resume: bool = False

    def check(self) -> None:
        """Refuse empty resources."""
        require(
            self.workers_per_trial >= 1, "workers_per_trial", self.workers_per_trial, "1 or more"
        )
        require(self.cpus_per_worker >= 1, "cpus_per_worker", self.cpus_per_worker, "1 or more")
        gpus = self.gpus_per_worker
        fits = gpus >= 0 and (gpus <= 1 or gpus.is_integer())
        require(fits, "gpus_per_worker", gpus, "0 to 1, or a whole number")
        whole = self.workers_per_trial == 1 or float(gpus).is_integer()
        require(whole, "gpus_per_worker", gpus, "a whole number, with several workers a trial")
        limit = self.max_concurrent
        require(limit is None or limit >= 1, "max_concurrent", limit, "at least 1")
        require(self.max_failures >= 0, "max_failures", self.max_failures, "0 or more")
        require(self.worker_timeout_s >= 1, "worker_timeout_s", self.worker_timeout_s, "1 or more")
        require(self.outage_wait_s >= 0, "outage_wait_s", self.outage_wait_s, "0 or more")
        require(self.confirm >= 0, "confirm", self.confirm, "0 or more")
        require(self.confirm_seeds >= 2, "confirm_seeds", self.confirm_seeds, "2 or more")
        for name in ("budget_gpu_hours", "budget_wall_s", "price_per_gpu_hour"):
            value = getattr(self, name)
            require(value is None or value > 0, name, value, "more than 0")
        keep = self.keep_trials
        require(keep is None or keep >= 0, "keep_trials", keep, "0 or more")
