"""What the benchmarks of speed share: timing, one table with aims, and its JSON."""

import datetime
import json
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

from benchmarks.aims import NOT_MEASURED
from benchmarks.gpu import gpu, synchronise
from benchmarks.sizes import sizes
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

RESULTS = Path(__file__).parent / "results"
NO_GPU = "No GPU: the aims are for one, and the network here is a small one."
NUM_CLASSES = 10
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
    """Whether the aim was reached; an aim that is for a GPU only on one."""
    why: str = ""
    """What stopped the measurement, in one sentence."""


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


def report(
    name: str,
    rows: Iterable[Row],
    facts: dict[str, Any],
    out: Path | None,
    on_a_cpu: str = NO_GPU,
) -> list[Row]:
    """Write rows as JSON, by default to `results/<name>.json`, print their table, return them.

    The file holds what there is after each row, so that nothing is lost by one that fails, or by
    a kill.

    Args:
        name: of the benchmark.
        rows: made one by one.
        facts: kept in the file beside them.
        out: the file.
        on_a_cpu: what is said below the table where there is no GPU; nothing for "".
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
    if chip is None and on_a_cpu:
        console.print(on_a_cpu)
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
