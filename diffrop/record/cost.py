"""The stored cost of a study, plan.json: what it was expected to take, and what it took."""

from dataclasses import dataclass, field

from diffrop.record.codec import stored_as


@dataclass(frozen=True, kw_only=True)
class CostPart:
    """A part of a study: sums over its trainings."""

    trials: float = 0
    """Trainings; of a plan, the expected number."""
    training_s: float = 0.0
    scoring_s: float = 0.0
    samples: int = 0
    trained: int = 0
    """Images seen in training."""


@dataclass(frozen=True, kw_only=True)
class RungCost(CostPart):
    """All trials between one rung and the next."""

    images: int
    num_samples: int
    num_steps: int | None


@dataclass(frozen=True, kw_only=True)
class StudyCost:
    """What a study takes or took."""

    rungs: tuple[RungCost, ...]
    prefix: CostPart | None = None
    """What lies before a fork, trained once for each training seed."""
    confirm: CostPart | None = None
    """The trainings with fresh seeds."""
    trials: float
    gpu_hours: float
    """0 where there is no GPU."""
    worker_hours: float | None
    """None where there are GPUs."""
    wall_s: float
    """Wall clock, in seconds."""
    samples: int
    images: int
    """Images seen in training."""
    memory_mib: float | None = None
    disk_mib: float
    """Checkpoints at the end, and the snapshots of averages beside them."""
    cost: float | None = None
    price_per_gpu_hour: float | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether hours are of GPUs."""
        return self.worker_hours is None

    @property
    def hours(self) -> float:
        """Hours of GPUs, or of workers where there is no GPU."""
        return self.gpu_hours or self.worker_hours or 0.0

    @property
    def parts(self) -> tuple[CostPart, ...]:
        """All that costs something."""
        return tuple(part for part in (self.prefix, *self.rungs, self.confirm) if part)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Speeds of one worker on this machine, its memory, and the size of a checkpoint."""

    device: str
    num_steps: int
    """Training steps that were timed."""
    train_images_per_s: float
    denoise_images_per_s: float
    """Denoising evaluations a second; guidance takes two for each image and step."""
    feature_images_per_s: float | None
    """None where the extractor could not be had without a download."""
    fid_s: float
    """Seconds of one report of the FIDs alone; 0 where it was not measured."""
    metrics_s: float
    """Seconds of all metrics of a final score, for each of its samples."""
    memory_mib: float
    """At most while training and sampling: of the GPU, or what the process grew by on a CPU."""
    checkpoint_mib: float
    snapshot_mib: float = 0.0
    """Of the averages that are kept between checkpoints."""


@dataclass(frozen=True, kw_only=True)
class PlannedCost(StudyCost):
    """What a study is expected to take; the start-up of the trials is left out."""

    prefix_saved: int = field(default=0, metadata=stored_as("prefix_saved_images"))
    """Images that need not be trained, because the trials share what lies before their fork."""
    budget_hours: float | None = None
    budget_wall_s: float | None = None
    units: float
    """GPUs of a trial, or workers where there is no GPU."""
    at_once: int
    """Trials at a time; 0 if none can be placed."""
    placement: str
    probe: Probe
    checkpoints: int = 0
    """Kept at the end."""
    checkpoints_at_most: int = 0
    """Kept while it runs, at most."""
    snapshots: int = 0
    """Of averages, kept at the end."""
    snapshots_at_most: int = 0
    """Kept while it runs, at most."""


@dataclass(frozen=True, kw_only=True)
class CostRecord:
    """What plan.json holds."""

    began: float
    """When the study began, in seconds since 1970."""
    plan: PlannedCost | None = None
    actual: StudyCost | None = field(default=None, metadata=stored_as("fact"))
    """What all launches so far took; None before the first has ended."""
