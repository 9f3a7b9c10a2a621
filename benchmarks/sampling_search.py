"""Compare ways to search the sampling level: regret on fresh noise at the full N, samples drawn.

The methods of `sampling_methods.py` choose among the candidates of `sampling_spaces.py`: those of
Gaussians and of a small model on digits that this trains, or, with --study, those of the
checkpoints of a study's trials. The constants of the engine's search were chosen on the model of
seed 0: others, such as the default, are tests. What was found is printed and written after each
space.

    python -m benchmarks.sampling_search
    python -m benchmarks.sampling_search --spaces even-2048 tail-2048 uneven-2048
"""

import argparse
import functools
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.sampling_methods import ENGINE, METHODS, Meter
from benchmarks.sampling_spaces import MADE, Space, checkpoint_spaces
from diffrop.metrics.fid_carried import FidAtFullN
from diffrop.scoring.sampling_search import MOST_DRAWN
from diffrop.storage import write_atomically

DIGITS_NUM_SAMPLES = 600
CHECKPOINTS = "checkpoints"
"""The name of those spaces that are of checkpoints."""
MOST_REGRET = 0.01
"""Of the engine's search in a space, in the mean over repeats: the aim."""


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
    carry = FidAtFullN(space.reference)
    for repeat in range(repeats):
        meter = Meter(space, repeat, carry)
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


@dataclass(frozen=True)
class Judged:
    """What the engine's search is to keep to in a space, and whether it did."""

    space: str
    most_drawn: float
    """Samples over the full N, in the repeat with most; the aim is `MOST_DRAWN`."""
    mean_regret: float
    """The aim is `MOST_REGRET`."""
    reached: bool

    def __str__(self) -> str:
        """Return it as a sentence."""
        return (
            f"{self.space}: the engine's search drew at most {self.most_drawn:.2f} times the full "
            f"N (aim: {MOST_DRAWN:g}), its mean regret is {self.mean_regret:.2%} (aim: "
            f"{MOST_REGRET:.0%}): {'reached' if self.reached else 'missed'}"
        )


def judged(rows: Sequence[Searched]) -> list[Judged]:
    """Judge the engine's search by its aims, in each space."""
    found = []
    for space in dict.fromkeys(row.space for row in rows):
        part = [row for row in rows if (row.space, row.method) == (space, ENGINE)]
        drawn, regret = max(row.drawn for row in part), float(np.mean([r.regret for r in part]))
        reached = drawn <= MOST_DRAWN and regret <= MOST_REGRET
        found.append(Judged(space, drawn, regret, reached))
    return found


def chosen_spaces(args: argparse.Namespace, scratch: Path) -> Iterator[Space]:
    """Make the spaces that are asked for, one after another."""
    names = [CHECKPOINTS] if args.study else [*MADE, CHECKPOINTS]
    for name in args.spaces or names:
        if name == CHECKPOINTS:
            how = args.num_samples, args.parts, args.seed
            yield from checkpoint_spaces(args.study, args.cache or scratch, scratch, *how)
        else:
            yield MADE[name]()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    spaces = [*MADE, CHECKPOINTS]
    by_default = f"of {', '.join(spaces)}; default: all, with --study {CHECKPOINTS} alone"
    add("--spaces", nargs="+", choices=spaces, metavar="SPACE", help=by_default)
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
    rows: list[Searched] = []
    with tempfile.TemporaryDirectory() as scratch:
        for space in chosen_spaces(args, Path(scratch)):
            found = compare(space, args.repeats)
            rows += found
            console.print(table_of(found))
            console.print(*map(str, judged(found)), sep="\n", soft_wrap=True)
            aims = [asdict(each) for each in judged(rows)]
            content = {"aims": aims, "searches": [asdict(row) for row in rows]}
            write_atomically(args.out, json.dumps(content, indent=1))
    console.print(f"written to {args.out}")


if __name__ == "__main__":
    main()
