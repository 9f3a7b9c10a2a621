"""Compare ways to spend alpha in a confirmation, by their level and power, simulated.

K leaders and the baseline are trained with S seeds each; then the nearest of those that are ahead
and undecided gets one more seed at a time, up to 3 S. One leader is better by an effect, the
others are as good as the baseline. Effects are in standard deviations of a leader's difference at
one seed; all leaders share the baseline's noise, so that their differences correlate by a half.
The rule is that of `diffrop.confirmation`; a test compares the two run by run.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.stats
from rich.console import Console
from rich.table import Table

from diffrop.confirmation.plan import ALPHA, MAX_SEEDS
from diffrop.confirmation.spending import SpendingRule, exact_levels, geometric, half_then_equal
from diffrop.storage import write_atomically

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
EFFECTS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
DESIGNS = ((3, 2), (1, 3), (3, 3), (1, 5), (3, 5))
"""Leaders and seeds."""
NOBODY = -1


def spending(share: Callable[[Array, Array], Array]) -> SpendingRule:
    """Return the rule that has spent a share of the error by each look.

    Args:
        share: of the seeds by then over the most seeds, and of the looks by then over all looks,
            both of shape (L,); 1 at the end.
    """

    def levels(error: float, first: int, last: int) -> tuple[float, ...]:
        seeds = np.arange(first, last + 1)
        looks = np.arange(1, len(seeds) + 1) / len(seeds)
        return exact_levels((error * share(seeds / last, looks)).tolist(), first)

    return levels


def obrien_fleming(error: float, first: int, last: int) -> tuple[float, ...]:
    """Spend as O'Brien and Fleming's bounds do (Lan and DeMets, 1983)."""
    z = scipy.stats.norm.isf(error / 2)
    seeds = np.arange(first, last + 1)
    return exact_levels((2 * scipy.stats.norm.sf(z / np.sqrt(seeds / last))).tolist(), first)


RULES: Mapping[str, SpendingRule] = {
    "geometric, Bonferroni": geometric,
    "geometric": spending(lambda seeds, looks: np.append(1 - 0.5 ** np.arange(1, len(looks)), 1)),
    "Pocock-like": spending(lambda seeds, looks: np.log1p((np.e - 1) * seeds)),
    "a half, then equal": half_then_equal,
    "a half, then squares": spending(lambda seeds, looks: 0.5 + (1.5 * seeds - 0.5) ** 2 / 2),
    "a half, then cubes": spending(lambda seeds, looks: 0.5 + (1.5 * seeds - 0.5) ** 3 / 2),
    "linear": spending(lambda seeds, looks: seeds),
    "a third, then squares": spending(
        lambda seeds, looks: 1 / 3 + 2 / 3 * (1.5 * seeds - 0.5) ** 2
    ),
    "equal": spending(lambda seeds, looks: looks),
    "squares": spending(lambda seeds, looks: seeds**2),
    "cubes": spending(lambda seeds, looks: seeds**3),
    "O'Brien-Fleming-like": obrien_fleming,
}
"""By name; roughly from the one that spends most at the first look to the one that spends least.

The first is how earlier versions spent."""


@dataclass(frozen=True)
class Outcome:
    """What confirmations named, each of shape (R,)."""

    named: Counts
    """The place of the leader; `NOBODY` if there was none."""
    named_first: Counts
    """The same at the first look, when all have had S seeds."""
    trainings: Counts
    missed: npt.NDArray[np.bool_]
    """Whether any interval of any look, made or not, misses the expected difference."""


def simulate(noise: Array, effects: Array, levels: tuple[float, ...]) -> Outcome:
    """Confirm many times.

    Args:
        noise: of the differences, shape (R, K, N): runs, leaders, the most seeds.
        effects: the expected differences, negative where a leader is better, shape (K,).
        levels: of the intervals at each of L looks, the first at N - L + 1 seeds.
    """
    first = noise.shape[-1] - len(levels) + 1
    counts = np.arange(first, noise.shape[-1] + 1)
    mean = noise.cumsum(axis=-1)[..., first - 1 :] / counts
    squares = (noise**2).cumsum(axis=-1)[..., first - 1 :]
    error = np.sqrt((squares - counts * mean**2) / (counts - 1) / counts)
    width = scipy.stats.t.isf(np.array(levels) / 2, counts - 1) * error
    missed = (np.abs(mean) > width).any(axis=(1, 2))
    mean = mean + effects[:, None]
    looks = np.zeros(noise.shape[:2], dtype=np.int64)
    named = np.full(len(noise), NOBODY)
    named_first = named
    left = np.arange(len(noise))
    while len(left):
        at = (left[:, None], np.arange(noise.shape[1]), looks[left])
        means, better = mean[at], (mean + width)[at] < 0
        best = np.where(better, means, np.inf).argmin(axis=1)
        decided = better.any(axis=1)
        named[left[decided]] = best[decided]
        if not looks.any():
            named_first = named.copy()
        ties = (means < 0) & ~better & (looks[left] < len(levels) - 1)
        nearest = np.where(ties, means, np.inf).argmin(axis=1)
        on = ties.any(axis=1) & ~decided
        left, nearest = left[on], nearest[on]
        looks[left, nearest] += 1
    trainings = (looks + first).sum(axis=1) + looks.max(axis=1) + first
    return Outcome(named=named, named_first=named_first, trainings=trainings, missed=missed)


@dataclass(frozen=True)
class Row:
    """A rule with so many leaders and seeds."""

    rule: str
    num_leaders: int
    num_seeds: int
    missed: float
    """Runs in which any interval misses."""
    false_best: float
    """Runs in which a best is named where no leader is better."""
    power: dict[float, float]
    """By effect: runs in which the better leader is named."""
    power_first: dict[float, float]
    """The same at the first look."""
    trainings: dict[float, float]
    """By effect, 0 too: their mean number."""


NOISES: Mapping[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "t3": lambda rng, shape: rng.standard_t(3, size=shape) / 3**0.5,
    "lognormal": lambda rng, shape: rng.lognormal(size=shape) / (np.e * (np.e - 1)) ** 0.5,
}
"""Noise of one training, of unit variance: normal, as intervals assume, or with heavier tails."""


def paired_noise(num_runs: int, num_leaders: int, num_seeds: int, noise: str = "normal") -> Array:
    """Draw the noise of differences to one baseline, of unit variance, shape (R, K, N)."""
    rng = np.random.default_rng(0)
    baseline = NOISES[noise](rng, (num_runs, 1, num_seeds))
    leaders = NOISES[noise](rng, (num_runs, num_leaders, num_seeds))
    return np.asarray((leaders - baseline) / 2**0.5)


def measure(rule: str, num_leaders: int, num_seeds: int, noise: Array) -> Row:
    """Simulate one rule at all effects."""
    levels = RULES[rule](ALPHA / num_leaders, num_seeds, MAX_SEEDS * num_seeds)
    found = {
        effect: simulate(noise, -effect * (np.arange(num_leaders) == 0), levels)
        for effect in (0.0, *EFFECTS)
    }
    return Row(
        rule=rule,
        num_leaders=num_leaders,
        num_seeds=num_seeds,
        missed=float(found[0].missed.mean()),
        false_best=float((found[0].named != NOBODY).mean()),
        power={effect: float((found[effect].named == 0).mean()) for effect in EFFECTS},
        power_first={effect: float((found[effect].named_first == 0).mean()) for effect in EFFECTS},
        trainings={effect: float(one.trainings.mean()) for effect, one in found.items()},
    )


def table_of(rows: list[Row], num_leaders: int, num_seeds: int) -> Table:
    """Return the rules with so many leaders and seeds, for the terminal."""
    title = (
        f"{num_leaders} leader(s), {num_seeds} to {MAX_SEEDS * num_seeds} seeds: named in %, "
        "of them at the first look; trainings"
    )
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("rule", no_wrap=True)
    for heading in ("missed", "false", *(f"{effect:g} sd" for effect in EFFECTS)):
        table.add_column(heading, justify="right", no_wrap=True)
    for effect in (0.0, 1.0, 2.0):
        table.add_column(f"n({effect:g})", justify="right", no_wrap=True)
    for row in rows:
        if (row.num_leaders, row.num_seeds) == (num_leaders, num_seeds):
            powers = (f"{100 * row.power[e]:.0f}/{100 * row.power_first[e]:.0f}" for e in EFFECTS)
            counts = (f"{row.trainings[effect]:.1f}" for effect in (0.0, 1.0, 2.0))
            level = (f"{100 * row.missed:.1f}", f"{100 * row.false_best:.1f}")
            table.add_row(row.rule, *level, *powers, *counts)
    return table


def summary_of(rows: list[Row]) -> Table:
    """Return how each rule compares with the first one over all leaders, seeds and effects."""
    title = (
        "All together: mean of those named, and of those named at the first look; beside the "
        "first rule's, the latter where it is least (1.5 sd and more), trainings where most"
    )
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("rule", no_wrap=True)
    for heading in ("named", "first look", "least first look", "most trainings"):
        table.add_column(heading, justify="right", no_wrap=True)
    base = [row for row in rows if row.rule == rows[0].rule]
    for rule in RULES:
        found = [row for row in rows if row.rule == rule]
        power, first = (
            np.mean([list(getattr(row, name).values()) for row in found])
            for name in ("power", "power_first")
        )
        pairs = list(zip(found, base, strict=True))
        share = min(a.power_first[e] / b.power_first[e] for a, b in pairs for e in EFFECTS[-3:])
        cost = max(a.trainings[e] / b.trainings[e] for a, b in pairs for e in a.trainings)
        table.add_row(
            rule, f"{100 * power:.1f} %", f"{100 * first:.1f} %", f"{share:.2f}", f"{cost:.2f}"
        )
    return table


def main() -> None:
    """Print a table for each number of leaders and seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20_000, help="simulated confirmations a cell")
    parser.add_argument("--noise", choices=NOISES, default="normal", help="of one training")
    parser.add_argument("--json", type=Path, help="where the rows are written")
    options = parser.parse_args()
    rows = []
    console = Console(width=118)
    for num_leaders, num_seeds in DESIGNS:
        noise = paired_noise(options.runs, num_leaders, MAX_SEEDS * num_seeds, options.noise)
        rows += [measure(rule, num_leaders, num_seeds, noise) for rule in RULES]
        console.print(table_of(rows, num_leaders, num_seeds), "")
    console.print(summary_of(rows))
    if options.json:
        write_atomically(options.json, json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
