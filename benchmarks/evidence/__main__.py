"""Train what the evidence lacks, stage after stage; a killed run goes on where it stopped.

    python -m benchmarks.evidence                       # all that is missing, in order
    python -m benchmarks.evidence --stages candidate forms
    python -m benchmarks.evidence --dry-run             # what is missing, and how long it takes

Each training is a process' own, on one thread; the last stage is a study of the platform. `make
results` then writes RESULTS.md.
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.evidence import table, wide_search
from benchmarks.evidence.arms import Arm
from benchmarks.evidence.stages import STAGES, Stage
from benchmarks.evidence.training import end_with, inputs_of, train

FIRST_GUESS_S = 0.002
"""Processor time of an image in training, scores included, before any training was timed."""


def missing(stage: Stage, folder: Path) -> list[tuple[Arm, int]]:
    """Return the trainings of a stage that the table lacks."""
    known = table.trained(table.read(stage.setting, folder))
    return [(arm, seed) for arm, seed in stage.trainings() if (arm.key, seed) not in known]


def expected_s(stage: Stage, left: Sequence[tuple[Arm, int]], folder: Path) -> float:
    """Return the processor time of trainings, by what others of their setting took."""
    frame = table.read(stage.setting, folder)
    taken = frame.groupby(["settings", "seed"]).agg(
        {"training_s": "max", "scoring_s": "sum", "arm": "first"}
    )
    seconds = (taken["training_s"] + taken["scoring_s"]).groupby(taken["arm"]).median()
    guess = FIRST_GUESS_S * max(stage.setting.rungs)
    usual = float(seconds.median()) if len(seconds) else guess
    return sum(float(seconds.get(arm.name, usual)) for arm, _ in left)


def run(
    stage: Stage,
    left: Sequence[tuple[Arm, int]],
    folder: Path,
    runs_root: Path,
    pool: ProcessPoolExecutor,
) -> None:
    """Train what a stage lacks, and add each training to the table as it ends."""
    inputs_of(stage.setting.name, runs_root)  # one process makes the extractor for all
    name = stage.setting.name
    waiting: dict[Future[list[dict[str, Any]]], tuple[Arm, int]] = {
        pool.submit(train, name, arm, seed, runs_root): (arm, seed) for arm, seed in left
    }
    try:
        for number, done in enumerate(as_completed(waiting), start=1):
            arm, seed = waiting.pop(done)
            rows = done.result()
            table.append(name, rows, folder)
            print(f"{time.strftime('%H:%M:%S')} {stage.name} {number}/{len(left)}: ", end="")
            print(f"{arm.name}, seed {seed}: {best_in_words(rows)}", flush=True)
    finally:
        if waiting:  # it was interrupted, or a training raised
            pool.shutdown(wait=False, cancel_futures=True)


def best_in_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the scores at the end of a training, at its best omega."""
    if "fid/all" not in rows[-1]:
        return f"failed before {rows[-1]['images']:,} images"
    last = [row for row in rows if row["images"] == rows[-1]["images"] and "scoring_s" in row]
    best = min(last, key=lambda row: float(row["fid/all"]))
    scores = " ".join(f"{best[score]:.1f}" for score in table.FIDS)
    return f"FID all, many, medium, few {scores} at omega {best['omega']:g}"


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    names = [*STAGES, wide_search.STAGE]
    add("--stages", nargs="+", choices=names, default=names)
    add("--processes", type=int, default=os.cpu_count() or 1, help="trainings at a time")
    add("--tables", type=Path, default=table.FOLDER, help="folder of the tables")
    add("--runs-root", type=Path, default=Path("runs"), help="its .cache holds the extractor")
    add("--dry-run", action="store_true", help="print what is missing, train nothing")
    args = parser.parse_args()
    stages = [STAGES[name] for name in args.stages if name in STAGES]
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that the pool starts
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        args.processes, mp_context=context, initializer=end_with, initargs=(os.getpid(),)
    ) as pool:
        for stage in stages:
            left = missing(stage, args.tables)
            minutes = expected_s(stage, left, args.tables) / args.processes / 60
            print(
                f"{stage.name}: {stage.question} {len(left)} trainings, about {minutes:.0f} min",
                flush=True,
            )
            if left and not args.dry_run:
                run(stage, left, args.tables, args.runs_root, pool)
    if wide_search.STAGE in args.stages:
        search(args.tables, args.runs_root, args.dry_run)


def search(folder: Path, runs_root: Path, dry_run: bool) -> None:
    """Run the study over the wide space, unless it is known; it says itself how long it takes."""
    left = 0 if wide_search.read(folder) else wide_search.NUM_TRIALS
    print(f"{wide_search.STAGE}: {wide_search.QUESTION} {left} trials", flush=True)
    if left and not dry_run:
        wide_search.run(runs_root, folder)


if __name__ == "__main__":
    main()
