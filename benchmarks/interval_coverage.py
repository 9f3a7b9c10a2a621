"""How many 95 % intervals of FID hold its expected value if features have heavy tails, simulated.

Many sets of samples of one model are drawn; the mean of their FIDs is the expected one, and so is
that of the differences to a second model whose samples share their noise with the first's. The
reference is the fit of other features of the same distribution, from which the first model's are
shifted; the second model's are nearer to their mean, with noise of their own.
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from diffrop.metrics.frechet import gaussian_statistics
from diffrop.metrics.interval import Interval
from diffrop.metrics.intervals import fid_estimate, paired_interval
from diffrop.storage import write_atomically

DESIGNS = ((16, 200), (32, 500))
"""Features and samples."""
NUM_REFERENCE = 20_000
SHIFT = 0.1
"""Of the first model's features, in standard deviations."""
SHRINKAGE, OWN_NOISE = 0.97, 0.05
"""What the second model's are beside the first's."""
DECAY = 0.9
"""Of a feature's share in all of them, from one to the next: this correlates them."""
FREEDOM = 5.0


def _chi2(shape: Sequence[int], rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.chisquare(FREEDOM, tuple(shape)))


def normal(count: int, dim: int, rng: np.random.Generator) -> Tensor:
    """Return normal values (count, dim), as all of these with mean 0 and variance 1."""
    return torch.from_numpy(rng.standard_normal((count, dim)))


def t_values(count: int, dim: int, rng: np.random.Generator) -> Tensor:
    """Return values of Student's t with 5 degrees of freedom, each by itself."""
    return normal(count, dim, rng) * ((FREEDOM - 2) / _chi2((count, dim), rng)).sqrt()


def t_images(count: int, dim: int, rng: np.random.Generator) -> Tensor:
    """Return values of the multivariate t: all of an image have one scale, so some lie far."""
    return normal(count, dim, rng) * ((FREEDOM - 2) / _chi2((count, 1), rng)).sqrt()


def lognormal(sigma: float) -> Callable[[int, int, np.random.Generator], Tensor]:
    """Return what draws lognormal values, each by itself."""
    mean = math.exp(sigma**2 / 2)
    spread = mean * math.sqrt(math.expm1(sigma**2))

    def draw(count: int, dim: int, rng: np.random.Generator) -> Tensor:
        return ((normal(count, dim, rng) * sigma).exp() - mean) / spread

    return draw


KINDS = {
    "normal": normal,
    "t with 5 degrees, each value by itself": t_values,
    "t with 5 degrees, one scale for all values of an image": t_images,
    "lognormal, sigma = 0.5": lognormal(0.5),
    "lognormal, sigma = 1": lognormal(1.0),
}
"""What the features are mixed from."""


@dataclass(frozen=True)
class Row:
    """One kind of features at one design."""

    kind: str
    dim: int
    num_samples: int
    num_draws: int
    of_fid: float
    """Share of the intervals that hold the expected FID."""
    of_difference: float
    """Share of the paired intervals that hold the expected difference."""


def coverage(intervals: Sequence[Interval]) -> float:
    """Return the share of intervals that hold the mean of their values."""
    expected = float(np.mean([found.value for found in intervals]))
    return float(np.mean([found.low <= expected <= found.high for found in intervals]))


def measure(kind: str, dim: int, num_samples: int, num_draws: int, shift: float = SHIFT) -> Row:
    """Return the coverage of the intervals of FID and of a paired difference."""
    draw, rng = KINDS[kind], np.random.default_rng(0)
    shares = DECAY ** torch.arange(dim, dtype=torch.float64)
    mixing = torch.from_numpy(rng.standard_normal((dim, dim))) * shares
    reference = gaussian_statistics(draw(NUM_REFERENCE, dim, rng) @ mixing)
    alone, paired = [], []
    for _ in range(num_draws):
        values = draw(num_samples, dim, rng) + shift
        near = SHRINKAGE * values + OWN_NOISE * normal(num_samples, dim, rng)
        first, second = (fid_estimate(found @ mixing, reference) for found in (values, near))
        alone.append(first.interval())
        paired.append(paired_interval(second, first))
    return Row(kind, dim, num_samples, num_draws, coverage(alone), coverage(paired))


def table_of(rows: Sequence[Row]) -> Table:
    """Return the table of docs/metrics.md: a line a kind, two columns a design."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("features", no_wrap=True)
    for dim, num_samples in DESIGNS:
        for heading in (f"D = {dim}, N = {num_samples}", "difference"):
            table.add_column(heading, justify="right")
    for kind in KINDS:
        found = [row for row in rows if row.kind == kind]
        shares = [share for row in found for share in (row.of_fid, row.of_difference)]
        table.add_row(kind, *(f"{share:.0%}" for share in shares))
    return table


def main() -> None:
    """Print the table of docs/metrics.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000, metavar="N", help="of each cell")
    parser.add_argument("--shift", type=float, default=SHIFT, metavar="X", help="of the features")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the rows are written")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the matrices are small
    each = options.draws, options.shift
    rows = [measure(kind, *design, *each) for kind in KINDS for design in DESIGNS]
    console = Console(width=118)
    console.print(table_of(rows))
    worst = (
        100
        * 1.96
        * max(
            math.sqrt(share * (1 - share) / options.draws)
            for row in rows
            for share in (row.of_fid, row.of_difference)
        )
    )
    console.print(f"{options.draws:,} draws a cell: within {worst:.1f} % at most.")
    if options.json:
        write_atomically(options.json, json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
