"""What the benchmarks of speed share: timing, one table with aims, and its JSON."""

import dataclasses
import datetime
import functools
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.aims import NOT_MEASURED, STAND_IN
from diffrop.config import (
    DataConfig,
    DiffusionConfig,
    ExperimentConfig,
    ModelConfig,
    Precision,
    TrainingConfig,
)
from diffrop.cuda_graph import Capture, CudaCapture
from diffrop.data.datasets import Dataset
from diffrop.data.labelled_images import LabelledImages
from diffrop.models.unet import UNet

RESULTS = Path(__file__).parent / "results"
NUM_CLASSES = 10
DEVICE_VARIABLE = "BENCHMARK_DEVICE"
"""Of the environment, which reaches the processes that a benchmark starts; its value: STAND_IN."""
POLL_INTERVAL_MS = 200
Result = TypeVar("Result")


class Gpu:
    """The GPU that a benchmark runs on, and what is asked of it beside its tensors."""

    device = torch.device("cuda")

    @property
    def name(self) -> str:
        """Its name, as results are filed under."""
        return torch.cuda.get_device_name()

    def synchronise(self) -> None:
        """Wait until its work is done."""
        torch.cuda.synchronize()

    def forget_peak(self) -> float:
        """Give back what is cached, count the peak anew, and return the MiB still reserved."""
        gc.collect()  # a trainer refers to itself
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_reserved() / 2**20

    def peak_mib(self) -> float:
        """Return the most MiB reserved at a time.

        Reserved, not allocated: what a CUDA graph computes lies in memory that counts as no
        tensor's.
        """
        return torch.cuda.max_memory_reserved() / 2**20

    def memory_mib(self) -> float:
        """Return the MiB that it has."""
        return torch.cuda.mem_get_info()[1] / 2**20

    def keep_to(self, share: float) -> None:
        """Limit this process to a share of its memory, as a trial of a study is."""
        torch.cuda.set_per_process_memory_fraction(share)

    def capture(self) -> Capture:
        """Return what records work on it."""
        return CudaCapture(self.device)

    def watch(self) -> list[str]:
        """Return the command that prints its utilisation in percent, a line each interval."""
        return [
            "nvidia-smi",
            f"--id=GPU-{torch.cuda.get_device_properties(0).uuid}",
            f"--loop-ms={POLL_INTERVAL_MS}",
            "--query-gpu=utilization.gpu",
            "--format=csv,noheader,nounits",
        ]


@functools.cache
def gpu() -> Gpu | None:
    """Return the GPU or, where the environment asks for it, its stand-in; None without either."""
    if os.environ.get(DEVICE_VARIABLE) == STAND_IN:
        from benchmarks.stand_in import StandIn  # here: it takes this module's class

        return StandIn()
    return Gpu() if torch.cuda.is_available() else None


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large a benchmark's work is, and how often it is done."""

    model: ModelConfig
    small_model: ModelConfig
    """For checks whose result does not depend on the network's size."""
    image_size: int
    batch_size: int
    larger_batches: tuple[int, ...]
    """Beside `batch_size`, for what a loss adds."""
    sampling_batch_size: int
    precision: Precision
    """Of trainings by default."""
    matrix: int
    """Rows of the matrices whose product is the ceiling."""
    warm_up_steps: int
    calls: int
    rounds: int
    training_s: float
    """Of each trial where two share a device."""
    study_images: int
    """Seen by a trial of the whole study."""
    study_samples: int
    study_budget_s: int
    """No trial of the study begins after so long."""
    agreement_steps: int
    """Of each training whose end is compared with plain PyTorch's."""


TWO_LEVELS = ModelConfig(base_channels=16, channel_multipliers=(1, 2), num_res_blocks=1)
ONE_LEVEL = dataclasses.replace(
    TWO_LEVELS, base_channels=8, channel_multipliers=(1,), attention_resolutions=()
)
PAPER = Sizes(
    model=ModelConfig(),
    small_model=TWO_LEVELS,
    image_size=32,
    batch_size=128,
    larger_batches=(512, 1024),
    sampling_batch_size=512,
    precision="bf16",
    matrix=8192,
    warm_up_steps=8,
    calls=30,
    rounds=5,
    training_s=10,
    study_images=800_000,
    study_samples=5000,
    study_budget_s=100,
    agreement_steps=2000,
)
SMALL = Sizes(
    model=TWO_LEVELS,
    small_model=ONE_LEVEL,
    image_size=16,
    batch_size=16,
    larger_batches=(),
    sampling_batch_size=16,
    precision="fp32",
    matrix=256,
    warm_up_steps=1,
    calls=2,
    rounds=3,
    training_s=3,
    study_images=256,
    study_samples=50,
    study_budget_s=60,
    agreement_steps=2000,
)
STOOD_IN = dataclasses.replace(
    SMALL,
    model=ONE_LEVEL,
    image_size=8,
    precision="bf16",
    warm_up_steps=6,  # beyond the recordings
    training_s=0.5,
    agreement_steps=20,
)


def sizes() -> Sizes:
    """Return the paper's sizes on a GPU, small ones elsewhere."""
    chip = gpu()
    if chip is None:
        return SMALL
    return STOOD_IN if chip.name == STAND_IN else PAPER


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table; None means that it was not measured."""

    what: str
    plain: float | None = None
    """The measure of what ours is compared with, in `unit`."""
    ours: float | None = None
    unit: str = "images/s"
    ratio: float | None = None
    """It is of this run; `aim` says which way round it is."""
    memory_mib: float | None = None
    """Peak memory of ours on a GPU since it was made; for a loss, what it adds."""
    of_ceiling: float | None = None
    """Share of ours in the rate of bf16 matrix products measured in this run."""
    aim: str = ""
    reached: bool | None = None
    """Whether the aim, which is for a GPU, was reached on one."""
    why: str = ""
    """What stopped the measurement, in one sentence."""


def device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    chip = gpu()
    return torch.device("cpu") if chip is None else chip.device


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    chip = gpu()
    if chip is not None:
        chip.synchronise()


def seconds(work: Callable[[], object], calls: int) -> float:
    """Return the time of a call, as a mean over several without a wait between them."""
    synchronise()
    start = time.perf_counter()
    for _ in range(calls):
        work()
    synchronise()
    return (time.perf_counter() - start) / calls


def alternating(works: Sequence[Callable[[], object]], calls: int, rounds: int) -> list[float]:
    """Return the median times of a call of each; in turns, so that drift meets all of them."""
    found: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for times, work in zip(found, works, strict=True):
            times.append(seconds(work, calls))
    return [statistics.median(times) for times in found]


def with_peak(build: Callable[[], Result]) -> tuple[Result, float | None]:
    """Return what `build` makes, and the peak of the GPU's MiB that it reserved meanwhile.

    None without a GPU.
    """
    chip = gpu()
    if chip is None:
        return build(), None
    before = chip.forget_peak()
    result = build()
    chip.synchronise()
    return result, chip.peak_mib() - before


def matrix_ceiling() -> float | None:
    """Return the FLOP/s of large bf16 matrix products, None without a GPU."""
    chip, size = gpu(), sizes().matrix
    if chip is None:
        return None
    a, b = (torch.randn(size, size, device=chip.device).to(torch.bfloat16) for _ in range(2))
    seconds(lambda: a @ b, 10)
    return 2 * size**3 / seconds(lambda: a @ b, 50)


def flops_per_image(model: ModelConfig, image_shape: tuple[int, int, int], train: bool) -> int:
    """Count the floating-point operations of a forward pass, or of one with its backward pass."""
    with torch.device("meta"):
        network = UNet(model, NUM_CLASSES, image_shape)
        x_t, t = torch.zeros(1, *image_shape), torch.zeros(1, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        output = network(x_t, t, t)
        if train:
            output.sum().backward()
    return counter.get_total_flops()


def experiment(**values: Any) -> ExperimentConfig:
    """Return the paper's network and batch; without a GPU small ones."""
    size = sizes()
    config = ExperimentConfig(
        data=DataConfig(horizontal_flip=True),
        diffusion=DiffusionConfig(),
        model=size.model,
        training=TrainingConfig(
            batch_size=size.batch_size, warmup_images=128_000, precision=size.precision
        ),
    )
    return config.with_values({key.replace("__", "."): value for key, value in values.items()})


def made_images(count: int = 4096) -> Dataset:
    """Return random images with long-tailed labels: speed does not depend on what they show."""
    size = sizes().image_size
    rng = torch.Generator().manual_seed(0)
    shape = (count, 3, size, size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=rng)
    mass = torch.logspace(0, -2, NUM_CLASSES)
    labels = torch.multinomial(mass, count, replacement=True, generator=rng)
    labels[:NUM_CLASSES] = torch.arange(NUM_CLASSES)
    train = LabelledImages(images, labels, tuple(str(c) for c in range(NUM_CLASSES)))
    return Dataset("made", train, train, "made", None, "made", "made")


def judged(ratio: float, reached: bool) -> dict[str, Any]:
    """Return a row's ratio and, on a GPU, whether its aim was reached."""
    return {"ratio": ratio, "reached": None if gpu() is None else reached}


def now() -> str:
    """Return date and time as results have them."""
    return datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def report(name: str, rows: Iterable[Row], facts: dict[str, Any], out: Path | None) -> list[Row]:
    """Write rows as JSON, by default to `results/<name>.json`, print their table, return them.

    The file holds what there is after each row, so that nothing is lost by one that fails.
    """
    chip = gpu()
    about = {
        "benchmark": name,
        "date": now(),
        "device": "cpu" if chip is None else chip.name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **facts,
    }
    path = out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    done: list[Row] = []
    try:
        for row in rows:
            done.append(row)
            content = {**about, "rows": [asdict(row) for row in done]}
            path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    finally:
        console = Console(width=160)
        console.print(table(about, done))
    if chip is None:
        console.print("No GPU: the aims are for one, and the network here is a small one.")
    console.print(f"Written to {path}")
    return done


def table(about: Mapping[str, Any], rows: Iterable[Row]) -> Table:
    """Return rows as they are printed.

    Args:
        about: benchmark, device and torch, of what `report` writes.
        rows: in order.
    """
    headings = ("what", "plain", "ours", "ratio", "peak MiB", "of ceiling", "aim", "reached")
    title = "{benchmark} on {device}, torch {torch}".format(**about)
    made = Table(*headings, title=title, box=None)
    for row in rows:
        made.add_row(*cells(row))
    return made


def cells(row: Row) -> list[str]:
    """Return a row as the table shows it."""

    def number(value: float | None, form: str, unit: str = "") -> str:
        return NOT_MEASURED if value is None else f"{value:{form}}{unit}"

    unit = f" {row.unit}"
    form = ",.0f" if row.unit == "images/s" else ".3g"
    reached = "" if not row.aim else {None: NOT_MEASURED, True: "yes", False: "no"}[row.reached]
    if row.why:
        reached = f"{reached}: {row.why}"
    return [
        row.what,
        number(row.plain, form, unit),
        number(row.ours, form, unit),
        number(row.ratio, ".3f"),
        number(row.memory_mib, ",.0f"),
        number(row.of_ceiling, ".1%"),
        row.aim,
        reached,
    ]
