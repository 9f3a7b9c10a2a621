"""What the benchmarks of speed share: timing, one table with aims, and its JSON."""

import datetime
import gc
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from diffrop.config import (
    DataConfig,
    DiffusionConfig,
    ExperimentConfig,
    ModelConfig,
    TrainingConfig,
)
from diffrop.data.datasets import Dataset
from diffrop.data.labelled_images import LabelledImages
from diffrop.models.unet import UNet

NOT_MEASURED = "not measured"
RESULTS = Path(__file__).parent / "results"
NUM_CLASSES = 10
CEILING_SIZE = 8192
Result = TypeVar("Result")


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


def device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


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

    Reserved, not allocated: what a CUDA graph computes lies in memory that counts as no tensor's.
    None without a GPU.
    """
    if not torch.cuda.is_available():
        return build(), None
    gc.collect()  # a trainer refers to itself
    synchronise()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_reserved()
    result = build()
    synchronise()
    return result, (torch.cuda.max_memory_reserved() - before) / 2**20


def matrix_ceiling() -> float | None:
    """Return the FLOP/s of large bf16 matrix products, None without a GPU."""
    if not torch.cuda.is_available():
        return None
    a, b = (
        torch.randn(CEILING_SIZE, CEILING_SIZE, dtype=torch.bfloat16, device="cuda")
        for _ in range(2)
    )
    seconds(lambda: a @ b, 10)
    return 2 * CEILING_SIZE**3 / seconds(lambda: a @ b, 50)


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


def experiment(on_gpu: bool, **values: Any) -> ExperimentConfig:
    """Return the paper's network at batch 128; without a GPU a small one at batch 16."""
    small = ModelConfig(base_channels=16, channel_multipliers=(1, 2), num_res_blocks=1)
    config = ExperimentConfig(
        data=DataConfig(horizontal_flip=True),
        diffusion=DiffusionConfig(),
        model=ModelConfig() if on_gpu else small,
        training=TrainingConfig(
            batch_size=128 if on_gpu else 16,
            warmup_images=128_000,
            precision="bf16" if on_gpu else "fp32",
        ),
    )
    return config.with_values({key.replace("__", "."): value for key, value in values.items()})


def made_images(count: int = 4096) -> Dataset:
    """Return random images with long-tailed labels: speed does not depend on what they show."""
    size = 32 if torch.cuda.is_available() else 16
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
    return {"ratio": ratio, "reached": reached if torch.cuda.is_available() else None}


def report(name: str, rows: Sequence[Row], facts: dict[str, Any], out: Path | None) -> None:
    """Print the table and write it as JSON, by default to `results/<name>.json`."""
    about = {
        "benchmark": name,
        "date": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **facts,
    }
    headings = ("what", "plain", "ours", "ratio", "peak MiB", "of ceiling", "aim", "reached")
    table = Table(
        *headings, title=f"{name} on {about['device']}, torch {torch.__version__}", box=None
    )
    for row in rows:
        table.add_row(*cells(row))
    console = Console(width=160)
    console.print(table)
    if not torch.cuda.is_available():
        console.print("No GPU: the aims are for one, and the network here is a small one.")
    path = out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {**about, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    console.print(f"Written to {path}")


def cells(row: Row) -> list[str]:
    """Return a row as the table shows it."""

    def number(value: float | None, form: str, unit: str = "") -> str:
        return NOT_MEASURED if value is None else f"{value:{form}}{unit}"

    unit = f" {row.unit}"
    form = ",.0f" if row.unit == "images/s" else ".3g"
    reached = "" if not row.aim else {None: NOT_MEASURED, True: "yes", False: "no"}[row.reached]
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
