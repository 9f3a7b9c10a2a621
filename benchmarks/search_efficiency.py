"""Compare what it costs to find a good point: this engine and other ways to search.

On a surrogate of real digits trials (`benchmarks/data/README.md`), each method searches
`search_spaces/tau.yaml`, with noise, on simulated workers that are never idle. It prints the time
that they have trained, sampled and scored until the trial that looks best is truly in the best
share of the space. All numbers follow from the table, the seeds and the packages' versions.

    python -m benchmarks.search_efficiency
"""

import argparse
import json
import logging
import time
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table
from scipy.stats import binom

from benchmarks.search_methods import FORKS, METHODS, Method, Setting
from benchmarks.simulation import Quest, StudyNoise, best_share, simulate
from benchmarks.surrogate import Surrogate, read_table
from diffrop.study.space import SearchSpace

ENGINE, OPTUNA, TUNE = "this engine", "plain Optuna (TPE)", "Tune's OptunaSearch + ASHA"
QUICK = (OPTUNA, TUNE, ENGINE)
AIMS = {OPTUNA: 4.0, TUNE: 2.0}
"""The aims: how many times the engine's cost these methods should have."""


def cost(method: Method, setting: Setting, threshold: float, seed: int) -> tuple[float, Quest]:
    """Return the seconds of all workers until a study reaches its end; infinite if it never does.

    A method's end is the threshold; its budget is the setting's number of trials.
    """
    noise = StudyNoise(setting.surrogate, seed, method.common)
    quest = Quest(setting.surrogate, threshold)
    begin = method.begin(setting, seed, noise, quest)
    for now in simulate(begin, setting.num_workers, method.start_s(setting)):
        if quest.reached:
            return now * setting.num_workers, quest
    return float("inf"), quest


def median_interval(costs: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and its 95 % interval by order statistics; infinity is a value too."""
    ordered = np.sort(costs)
    count = len(ordered)
    low = int(binom.ppf(0.025, count, 0.5))
    middle = ordered[(count - 1) // 2], ordered[count // 2]
    median = float(np.mean(middle)) if np.isfinite(middle).all() else float(middle[1])
    return median, float(ordered[max(0, low - 1)]), float(ordered[min(count - 1, count - low)])


def measure(
    setting: Setting, threshold: float, names: Sequence[str], seeds: int, console: Console
) -> dict[str, dict[str, Any]]:
    """Run every method with every seed."""
    found = {}
    for name in names:
        start = time.perf_counter()
        runs = [cost(METHODS[name], setting, threshold, seed) for seed in range(seeds)]
        costs = [spent for spent, _ in runs]
        median, low, high = median_interval(costs)
        found[name] = {
            "costs_s": costs,
            "median_s": median,
            "low_s": low,
            "high_s": high,
            "reached": float(np.isfinite(costs).mean()),
        }
        console.print(f"{name.strip()}: {time.perf_counter() - start:.0f} s", style="dim")
    return found


def ratio_interval(costs: Sequence[float], ours: Sequence[float]) -> tuple[float, float, float]:
    """Return the ratio of two medians, and its 95 % bootstrap interval over the seeds."""
    rng = np.random.default_rng(0)
    theirs, own = np.array(costs), np.array(ours)

    def ratio(rows: np.ndarray) -> float:
        above = median_interval(theirs[rows])[0]
        below = median_interval(own[rows])[0]
        return above / below if np.isfinite(below) else float("nan")

    drawn = [ratio(rng.integers(0, len(own), len(own))) for _ in range(1_000)]
    low, high = np.nanquantile(drawn, [0.025, 0.975], method="nearest")
    return ratio(np.arange(len(own))), float(low), float(high)


def table(found: dict[str, dict[str, Any]], setting: Setting, share: float) -> Table:
    """Return the methods' costs, and their ratios to the engine's."""
    shown = Table(
        "method",
        "seconds of work, median [95 %]",
        "trainings' worth",
        "reached",
        "times the engine [95 %]",
        "aim",
        box=None,
        title=f"to the best {share:.0%} of the space, {setting.num_workers} workers, at most "
        f"{setting.num_trials} trials",
    )
    whole = setting.surrogate.seconds.training(0, setting.final_images)
    for name, row in found.items():
        ratio = ""
        if name != ENGINE:
            ratio = "{:.2f} [{:.2f}, {:.2f}]".format(*row["ratio"])
        shown.add_row(
            name,
            f"{row['median_s']:,.0f} [{row['low_s']:,.0f}, {row['high_s']:,.0f}]",
            f"{row['median_s'] / whole:.1f}",
            f"{row['reached']:.0%}",
            ratio,
            f"{AIMS[name]:g}" if name in AIMS else "",
        )
    return shown


def surrogate_table(surrogate: Surrogate) -> Table:
    """Return how well the surrogate knows the grid."""
    fitted = surrogate.fitted
    error = (fitted["from others"] - fitted["measured"]).dropna()
    noise = float(
        np.sqrt(np.diag(surrogate.noise.training_observed)[-len(surrogate.omegas) :].mean())
    )
    sampling = np.diag(surrogate.noise.sampling[-1]).mean() / 1_000
    rows = [
        ("points, trainings", f"{len(fitted)}, {fitted['trainings'].sum()}"),
        ("effects, standard deviation of final log FID", f"{fitted['measured'].std():.3f}"),
        ("a point predicted from the others, RMSE", f"{np.sqrt((error**2).mean()):.3f}"),
        (
            "fitted, RMSE",
            f"{np.sqrt(((fitted['predicted'] - fitted['measured']) ** 2).mean()):.3f}",
        ),
        ("seed to seed, own part", f"{noise:.3f}"),
        ("samples, N = 1,000, own part", f"{np.sqrt(sampling):.3f}"),
        (
            "forks, share of the whole effect",
            ", ".join(f"{form} {share:.2f}" for form, share in surrogate.fork_shares.items()),
        ),
        ("training, an image", f"{1e3 * surrogate.seconds.training_per_image:.2f} ms"),
        ("sampling, an image, guided", f"{2e3 * surrogate.seconds.sampling_per_image:.2f} ms"),
    ]
    shown = Table("surrogate", "", box=None)
    for row in rows:
        shown.add_row(*row)
    return shown


def main() -> None:
    """Fit the surrogate, run all searches, print the table and write the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    here = Path(__file__).parent
    add("--table", type=Path, default=here / "data" / "digits_grid.csv")
    add("--space", type=Path, default=here.parent / "search_spaces" / "tau.yaml")
    add("--seeds", type=int, default=50)
    add("--trials", type=int, default=48, help="budget of every method")
    add("--workers", type=int, default=4)
    add("--share", type=float, default=0.05, help="share of the space that counts as found")
    add(
        "--at-best-omega",
        action="store_true",
        help="the share is of the points, each at its "
        "best omega, not of the points and omegas that are searched",
    )
    add("--quick", action="store_true", help="three methods and three seeds")
    add("--json", type=Path, help="where to write the numbers")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("ray").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    console = Console()
    surrogate = Surrogate.fit(read_table(args.table))
    space = SearchSpace.load(args.space)
    setting = Setting(surrogate, space, args.trials, args.workers)
    threshold, fids = best_share(surrogate, space, args.share, args.at_best_omega)
    console.print(surrogate_table(surrogate))
    baseline = float(np.exp(surrogate.baseline[-1].min()))
    console.print(
        f"fid/all without noise: best {fids[0]:.2f}, best {args.share:.0%} {threshold:.2f}, "
        f"median {np.median(fids):.2f}, worst {fids[-1]:.2f}, baseline at its best omega "
        f"{baseline:.2f}"
    )
    names, seeds = (QUICK, 3) if args.quick else (tuple(METHODS), args.seeds)
    if set(surrogate.fork_shares) != set(surrogate.processes):
        names = tuple(name for name in names if name != FORKS)
        console.print("Not every form has forks in the table: forks are not measured.")
    found = measure(setting, threshold, names, seeds, console)
    for row in found.values():
        row["ratio"] = ratio_interval(row["costs_s"], found[ENGINE]["costs_s"])
    console.print(table(found, setting, args.share))
    if args.json:
        content = {
            "share": args.share,
            "at_best_omega": args.at_best_omega,
            "threshold": threshold,
            "workers": args.workers,
            "trials": args.trials,
            "seeds": seeds,
            "methods": found,
            "trainings": int(surrogate.fitted["trainings"].sum()),
            "versions": {name: version(name) for name in ("optuna", "ray", "scikit-learn")},
        }
        args.json.write_text(json.dumps(_plain(content)) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Return plain data for JSON; null is infinity: the end was not reached."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value


if __name__ == "__main__":
    main()
