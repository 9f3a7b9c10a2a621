"""Compare ways to search the sampling level: regret on fresh noise at the full N, samples drawn.

The methods of `sampling_methods.py` choose among the candidates of `sampling_spaces.py`: those of
Gaussians and of a small model on digits that this trains, or, with --study, those of the
checkpoints of a study's trials. The constants of the engine's search were chosen on the model of
seed 0: others, such as the default, are tests.

    python -m benchmarks.sampling_search
"""

import argparse
import functools
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.sampling_methods import METHODS, Meter
from benchmarks.sampling_spaces import Space, checkpoint_spaces, gaussian_space, omega_curve
from diffrop.storage import write_atomically

DIGITS_NUM_SAMPLES = 600


@dataclass(frozen=True)
class Searched:
    """One search, and what it found on fresh noise."""

    space: str
    method: str
    repeat: int
    omega: float
    sampler: str
    value: float
    regret: float
    """Share by which `value` is above that of the grid's choice."""
    from_best: float
    """Share by which it is above that of the candidate that is the best there."""
    drawn: float
    """Samples over the full N."""


def compare(space: Space, repeats: int) -> list[Searched]:
    """Search a space by all methods, on so many noises."""
    rows = []
    for repeat in range(repeats):
        meter = Meter(space, repeat)
        value = functools.cache(functools.partial(space.value, repeat=repeat))
        best = min(value(choice) for choice in space.choices)
        by_grid = float("nan")
        for method, choose in METHODS.items():
            choice = choose(meter)
            found = value(choice)
            by_grid = found if method == "grid" else by_grid
            rows.append(
                Searched(
                    space.name,
                    method,
                    repeat,
                    choice.omega,
                    choice.sampler,
                    found,
                    found / by_grid - 1,
                    found / best - 1,
                    meter.taken(),
                )
            )
    return rows


def table_of(rows: Sequence[Searched]) -> Table:
    """Return means over repeats for the terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("space", "method"):
        table.add_column(heading, no_wrap=True)
    for heading in ("drawn", "most", "regret", "+-", "worst", "from best", "as grid"):
        table.add_column(heading, justify="right", no_wrap=True)
    for space in dict.fromkeys(row.space for row in rows):
        of_grid = [row for row in rows if (row.space, row.method) == (space, "grid")]
        picks = {row.repeat: (row.omega, row.sampler) for row in of_grid}
        for method in METHODS:
            part = [row for row in rows if (row.space, row.method) == (space, method)]
            regret = np.array([row.regret for row in part])
            alike = sum((row.omega, row.sampler) == picks[row.repeat] for row in part)
            error = regret.std(ddof=1) / len(part) ** 0.5 if len(part) > 1 else float("nan")
            table.add_row(
                space,
                method,
                f"{np.mean([row.drawn for row in part]):.2f}",
                f"{max(row.drawn for row in part):.2f}",
                f"{regret.mean():.2%}",
                f"{error:.2%}",
                f"{regret.max():.1%}",
                f"{np.mean([row.from_best for row in part]):.2%}",
                f"{alike} of {len(part)}",
            )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--study", type=Path, metavar="DIR", help="folder of a study, for its checkpoints")
    add("--cache", type=Path, metavar="DIR", help="keeps the trained checkpoint")
    add("--seed", type=int, default=1, help="of the training and its noise (%(default)s)")
    add("--num-samples", type=int, default=DIGITS_NUM_SAMPLES, metavar="N", help="full N (600)")
    add("--parts", type=int, default=3, metavar="N", help="times the full N that is drawn (3)")
    add("--repeats", type=int, default=20, metavar="N", help="noises (20)")
    add("--out", type=Path, default=Path("sampling_search.json"), metavar="FILE")
    args = parser.parse_args()
    if args.parts < 2:
        parser.error("--parts: 2 at least, one to search on and one of fresh noise")
    console = Console(width=120, highlight=False)
    spaces: list[Space] = []
    if args.study is None:
        curves = (("even", 0.5), ("tail", 0.5), ("uneven", 1.0))
        spaces += [omega_curve(f"omega, {shape}", steep, shape) for shape, steep in curves]
        spaces.append(gaussian_space())
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = args.cache or scratch
        how = args.num_samples, args.parts, args.seed
        spaces += checkpoint_spaces(args.study, folder, scratch, *how)
    rows: list[Searched] = []
    for space in spaces:
        rows += compare(space, args.repeats)
        console.print(table_of([row for row in rows if row.space == space.name]))
    content = {"searches": [asdict(row) for row in rows]}
    write_atomically(args.out, json.dumps(content, indent=1))
    console.print(f"written to {args.out}")


if __name__ == "__main__":
    main()
