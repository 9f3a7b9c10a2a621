"""Compare searches on the landscapes: what their best truly is, over the work that they do.

Each method searches a landscape's surrogate, with the noise of training and of samples, on
simulated workers that are never idle. What is measured is the regret: the log score, without
noise, of the trial that looks best, less the best of the space. All numbers follow from the
tables, the seeds and the packages' versions.

    python -m benchmarks.search_efficiency --check          # what the landscapes are fit for
    python -m benchmarks.search_efficiency --landscapes digits_tau
"""

import argparse
import json
import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table

from benchmarks.engine_method import Method, Setting
from benchmarks.landscape_table import add_options, read_lines, table_path
from benchmarks.landscapes import LANDSCAPES
from benchmarks.search_methods import ENGINE, FORKS, METHODS, ORACLE, RANDOM
from benchmarks.simulation import (
    TOP_SHARE,
    Course,
    Leader,
    StudyNoise,
    Truth,
    at_best_omega,
    simulate,
)
from benchmarks.surrogate import Surrogate
from benchmarks.surrogate_check import check_table
from diffrop.storage import write_atomically

QUICK = (ORACLE, RANDOM, "Optuna (TPE)", "Tune's OptunaSearch + ASHA", ENGINE)
FOUND_SHARE = 0.05
"""The first hit: the leader is in this share of the searched points and omegas."""
MOMENTS = {"1/4": 0.25, "1/2": 0.5, "whole": 1.0}
"""Shares of the budget at which the regret is shown."""
PILOTS = 3
"""Studies from which a method's number of trials is found, with seeds of their own."""
PILOT_SEED = 1_000_000


@dataclass(frozen=True)
class Study:
    """What one study came to."""

    course: Course
    wrong: bool
    """Whether the last leader's point is not in the best tenth of the space."""
    hit_s: float
    """Seconds of work until the leader was first in the best `FOUND_SHARE`; infinite if never."""
    stopped: int
    """Trials that were ended before their last rung."""
    wrongly_stopped: int
    """Those of them whose points are in the best tenth."""
    named_better: bool
    """Whether it would be called better than the baseline."""
    spent_s: float
    """Seconds of work in all."""


def run_study(method: Method, setting: Setting, seed: int, budget_s: float) -> Study:
    """Search until the work of all workers reaches the budget, or the trials are used up."""
    surrogate, truth = setting.surrogate, setting.truth
    noise = StudyNoise(surrogate, seed, method.common)
    leader = Leader(surrogate)
    begin = method.begin(setting, seed, noise, leader)
    seconds, regrets, hit_s, spent = [], [], float("inf"), 0.0
    best, found = float(truth.at_best[0]), truth.threshold(FOUND_SHARE)
    known = at_best = float("inf")
    for now in simulate(begin, setting.num_workers, method.start_s(setting)):
        if now * setting.num_workers > budget_s:
            break
        spent = now * setting.num_workers
        if leader.score < known:
            known, at_best = leader.score, leader.at_best
            seconds.append(spent)
            regrets.append(max(0.0, leader.truth - best))
            if leader.truth <= found:
                hit_s = min(hit_s, spent)
            named = bool(np.isfinite(leader.baseline)) and leader.named_better
    course = Course(np.array(seconds), np.array(regrets), truth.start - best)
    top = truth.threshold(TOP_SHARE, at_best_omega=True)
    stopped = at_best_omega(surrogate, leader.stopped) if leader.stopped else np.array([])
    return Study(
        course,
        wrong=not at_best <= top,
        hit_s=hit_s,
        stopped=len(stopped),
        wrongly_stopped=int((stopped <= top).sum()),
        named_better=bool(seconds) and named,
        spent_s=spent,
    )


def within_budget(method: Method, setting: Setting, budget_s: float) -> Setting:
    """Return the setting with as many trials as a method's budget pays for on average.

    A method that stops trials early may begin more of them; what depends on the number of trials,
    such as the sampler's random start, is then as in a study of that length.
    """
    for _ in range(2):
        runs = range(PILOT_SEED, PILOT_SEED + PILOTS)
        spent = np.mean([run_study(method, setting, s, float("inf")).spent_s for s in runs])
        number = round(setting.num_trials * budget_s / float(spent))
        setting = replace(setting, num_trials=max(2, number))
    return setting


def measure(
    setting: Setting, names: Sequence[str], seeds: Sequence[int], console: Console
) -> dict[str, dict[str, Any]]:
    """Run every method with every seed, all with the same budget."""
    budget_s = setting.num_trials * setting.whole_s
    found = {}
    for name in names:
        begun = time.perf_counter()
        method = METHODS[name]
        own = setting if name == ORACLE else within_budget(method, setting, budget_s)
        studies = [run_study(method, own, seed, budget_s) for seed in seeds]
        courses = [study.course for study in studies]
        found[name] = {
            "num_trials": own.num_trials,
            "area": [course.area(setting.whole_s, budget_s) for course in courses],
            "regret": {
                moment: [course.at(share * budget_s) for course in courses]
                for moment, share in MOMENTS.items()
            },
            "wrong": [study.wrong for study in studies],
            "hit_s": [study.hit_s for study in studies],
            "stopped": sum(study.stopped for study in studies),
            "wrongly_stopped": sum(study.wrongly_stopped for study in studies),
        }
        console.print(f"{name.strip()}: {time.perf_counter() - begun:.0f} s", style="dim")
    return found


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return a mean and its 95 % bootstrap interval over the seeds."""
    rows = np.asarray(values, dtype=float)
    rng = np.random.default_rng(0)
    drawn = rows[rng.integers(0, len(rows), (2_000, len(rows)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(rows.mean()), float(low), float(high)


def gap_closed(
    areas: Sequence[float], random: Sequence[float], oracle: Sequence[float]
) -> tuple[float, float, float]:
    """Return how much of the way from random points to the oracle a method's area goes.

    It is a share, with its 95 % bootstrap interval; all three are paired over the seeds.
    """
    rows = np.array([areas, random, oracle])
    rng = np.random.default_rng(0)
    drawn = rows[:, rng.integers(0, rows.shape[1], (2_000, rows.shape[1]))].mean(axis=2)
    shares = (drawn[1] - drawn[0]) / (drawn[1] - drawn[2])
    own, others, best = rows.mean(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float((others - own) / (others - best)), float(low), float(high)


def null_rate(
    method: Method, setting: Setting, seeds: Sequence[int]
) -> tuple[float, float, float]:
    """Return the share of studies that name a point better where all points are the baseline."""
    flat = setting.surrogate.without_effects()
    null = replace(setting, surrogate=flat, truth=Truth.of(flat))
    named = [run_study(method, null, seed, float("inf")).named_better for seed in seeds]
    return mean_interval(named)


def table(found: dict[str, dict[str, Any]], setting: Setting) -> Table:
    """Return the methods' regrets."""
    shown = Table(
        "method",
        "trials",
        "area under regret [95 %]",
        "gap closed [95 %]",
        *(f"at {moment}" for moment in MOMENTS),
        "wrong leader",
        "stopped, of these in the best tenth",
        f"first in best {FOUND_SHARE:.0%}, whole trials",
        box=None,
        title=f"{setting.surrogate.landscape.name}: 100 x log score above the best of the space; "
        f"{setting.num_workers} workers, work of {setting.num_trials} whole trials",
    )
    for name, row in found.items():
        closed = gap_closed(row["area"], found[RANDOM]["area"], found[ORACLE]["area"])
        middle, low, high = (100 * value for value in mean_interval(row["area"]))
        hit = float(np.median(row["hit_s"])) / setting.whole_s
        shown.add_row(
            name,
            str(row["num_trials"]) if name != ORACLE else "1",
            f"{middle:.2f} [{low:.2f}, {high:.2f}]",
            "{:.0%} [{:.0%}, {:.0%}]".format(*closed),
            *(f"{100 * np.mean(row['regret'][moment]):.2f}" for moment in MOMENTS),
            f"{np.mean(row['wrong']):.0%}",
            f"{row['wrongly_stopped'] / row['stopped']:.1%}" if row["stopped"] else "",
            f"{hit:.1f}" if np.isfinite(hit) else "never",
        )
    return shown


def main() -> None:
    """Fit the surrogates, run all searches, print the tables and write the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add_options(parser)
    add("--check", action="store_true", help="only say how well each landscape is known")
    add("--seeds", type=int, help="studies of each method; default 50, with --quick 3")
    add("--first-seed", type=int, default=0)
    add("--trials", type=int, default=48, help="whole trials whose work is every method's budget")
    add("--workers", type=int, default=4)
    add("--quick", action="store_true", help="five methods alone")
    add("--json", type=Path, help="where to write the numbers")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("ray").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    console = Console(width=160)
    content: dict[str, Any] = {}
    for name in args.landscapes:
        try:
            lines = read_lines(table_path(args.tables, name))
            surrogate = Surrogate.fit(LANDSCAPES[name], lines)
        except ValueError as error:
            console.print(f"NO CLAIM on {name}: {error}")
            continue
        console.print(check_table(surrogate))
        if args.check:
            continue
        setting = Setting(surrogate, Truth.of(surrogate), args.trials, args.workers)
        methods = QUICK if args.quick else tuple(METHODS)
        if not np.isfinite(surrogate.fork_share):
            methods = tuple(method for method in methods if method != FORKS)
        count = args.seeds or (3 if args.quick else 50)
        seeds = range(args.first_seed, args.first_seed + count)
        found = measure(setting, methods, seeds, console)
        console.print(table(found, setting))
        null = null_rate(METHODS[ENGINE], setting, seeds)
        console.print(
            "null landscape: {:.0%} [{:.0%}, {:.0%}] of the engine's studies name a point better "
            "than the baseline by its interval over samples".format(*null)
        )
        content[name] = {
            "trials": args.trials,
            "workers": args.workers,
            "seeds": [seeds.start, seeds.stop],
            "whole_s": setting.whole_s,
            "methods": found,
            "null": null,
            "trainings": len(surrogate.effects),
            "versions": {name: version(name) for name in ("optuna", "ray", "scipy")},
        }
    if args.json and content:
        write_atomically(args.json, json.dumps(_plain(content)) + "\n")


def _plain(value: Any) -> Any:
    """Return plain data for JSON; null is infinity: the end was not reached."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 5) if np.isfinite(value) else None
    return value


if __name__ == "__main__":
    main()
